"""The tables of the embedded webhook queue, and every statement it runs.

A job is the head of its lane or waits behind it. Only heads that are not leased are in the index `heads`, by webhook
and time. So a claim reads as many rows as it leases, plus one per webhook with waiting jobs, however many wait behind
them.
`delay_ms` is how long a retry waits in all; NULL for a job that is due: never leased, released, or lease expired.
`entries.shard` is NULL for a replayed delivery, which the low-water mark has passed already. `webhooks.jobs` counts the
jobs of a webhook.
"""

VERSION = 6

SET_VERSION = f"PRAGMA user_version = {VERSION}"

SCHEMA = """
CREATE TABLE shards (
    shard INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    last_offset INTEGER NOT NULL, last_nth INTEGER NOT NULL, UNIQUE (topic, partition));
CREATE TABLE webhooks (
    webhook INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    failing_since_ms INTEGER, failures INTEGER NOT NULL DEFAULT 0, jobs INTEGER NOT NULL DEFAULT 0);
CREATE INDEX failing ON webhooks (webhook) WHERE failures > 0;
CREATE TABLE entries (
    entry INTEGER PRIMARY KEY, shard INTEGER, log_offset INTEGER NOT NULL, nth INTEGER NOT NULL,
    pending INTEGER NOT NULL, lane TEXT NOT NULL, event_id TEXT NOT NULL, kind TEXT NOT NULL,
    at_ms INTEGER NOT NULL, position TEXT NOT NULL, body BLOB NOT NULL, trace TEXT NOT NULL DEFAULT '',
    queued_at_ms INTEGER);
CREATE INDEX undelivered ON entries (shard, log_offset, nth) WHERE shard IS NOT NULL;
CREATE INDEX replayed ON entries (event_id) WHERE shard IS NULL;
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY, webhook INTEGER NOT NULL, lane TEXT NOT NULL, entry INTEGER NOT NULL,
    head INTEGER NOT NULL, due_ms INTEGER NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, first_at_ms INTEGER,
    leased_until_ms INTEGER, token TEXT, reason TEXT, delay_ms INTEGER);
CREATE INDEX lanes ON jobs (webhook, lane, seq);
CREATE INDEX heads ON jobs (webhook, due_ms, seq) WHERE head = 1 AND leased_until_ms IS NULL;
CREATE INDEX leases ON jobs (webhook, leased_until_ms) WHERE leased_until_ms IS NOT NULL;
CREATE TABLE counts (jobs INTEGER NOT NULL);
INSERT INTO counts VALUES (0);
CREATE TABLE attempts (attempt INTEGER PRIMARY KEY, webhook INTEGER NOT NULL, content BLOB NOT NULL);
CREATE INDEX newest ON attempts (webhook, attempt);
"""

MIGRATIONS = {  # from each earlier version to the next
    1: """
ALTER TABLE entries ADD COLUMN trace TEXT NOT NULL DEFAULT '';
ALTER TABLE dead ADD COLUMN trace TEXT NOT NULL DEFAULT ''""",
    2: "CREATE INDEX replayed ON entries (event_id) WHERE shard IS NULL",
    3: """
ALTER TABLE jobs ADD COLUMN delay_ms INTEGER;
UPDATE jobs SET delay_ms = max(0, due_ms - 1000 * unixepoch()) WHERE attempt > 0 AND leased_until_ms IS NULL""",
    4: """
ALTER TABLE webhooks ADD COLUMN jobs INTEGER NOT NULL DEFAULT 0;
UPDATE webhooks SET jobs = (SELECT count(*) FROM jobs WHERE jobs.webhook = webhooks.webhook);
CREATE TABLE attempts (attempt INTEGER PRIMARY KEY, webhook INTEGER NOT NULL, content BLOB NOT NULL);
CREATE INDEX newest ON attempts (webhook, attempt)""",
    5: "ALTER TABLE entries ADD COLUMN queued_at_ms INTEGER",
}

PRAGMAS = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0"
WIPE = """
DELETE FROM shards; DELETE FROM webhooks; DELETE FROM entries; DELETE FROM jobs; DELETE FROM attempts;
UPDATE counts SET jobs = 0"""

# --- positions

POSITION = "SELECT last_offset, last_nth, shard FROM shards WHERE topic = ? AND partition = ?"
PUT_SHARD = "INSERT INTO shards (topic, partition, last_offset, last_nth) VALUES (?, ?, ?, ?) RETURNING shard"
SET_LAST = "UPDATE shards SET last_offset = ?, last_nth = ? WHERE shard = ?"
FIRST_UNDELIVERED = "SELECT log_offset, nth FROM entries WHERE shard = ? ORDER BY log_offset, nth LIMIT 1"

# --- puts

WEBHOOK = "INSERT INTO webhooks (id) VALUES (?) ON CONFLICT (id) DO UPDATE SET id = id RETURNING webhook"
WEBHOOK_NUMBER = "SELECT webhook FROM webhooks WHERE id = ?"
WEBHOOK_NAME = "SELECT id FROM webhooks WHERE webhook = ?"
PUT_ENTRY = """
INSERT INTO entries (shard, log_offset, nth, pending, lane, event_id, kind, at_ms, position, body, trace, queued_at_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
PUT_JOB = """
INSERT INTO jobs (webhook, lane, entry, due_ms, head)
SELECT ?1, ?2, ?3, ?4, NOT EXISTS (SELECT 1 FROM jobs WHERE webhook = ?1 AND lane = ?2)"""
IS_REPLAYED = """
SELECT EXISTS (
    SELECT 1 FROM entries INDEXED BY replayed JOIN jobs USING (entry)
    WHERE shard IS NULL AND event_id = ? AND webhook = ?)"""
JOB_COUNT = "SELECT jobs FROM counts"
ADD_TO_JOB_COUNT = "UPDATE counts SET jobs = jobs + ?"
ADD_TO_JOBS_OF_WEBHOOK = "UPDATE webhooks SET jobs = jobs + ? WHERE webhook = ?"

# --- claims

END_EXPIRED_LEASES = """
UPDATE jobs INDEXED BY leases SET leased_until_ms = NULL, token = NULL, due_ms = min(due_ms, ?1)
WHERE leased_until_ms <= ?1"""
CLAMP_LEASES = "UPDATE jobs INDEXED BY leases SET leased_until_ms = ?1 WHERE leased_until_ms > ?1"
CLAMP_HEADS = """
UPDATE jobs SET due_ms = ?2 + coalesce(delay_ms, 0)
WHERE head = 1 AND leased_until_ms IS NULL AND webhook = ?1 AND due_ms > ?2
    AND due_ms > ?2 + coalesce(delay_ms, 0)"""
LEASES_PER_WEBHOOK = """
SELECT webhook, count(*) FROM jobs INDEXED BY leases WHERE leased_until_ms IS NOT NULL GROUP BY webhook"""
WEBHOOKS_WITH_HEADS = """
WITH RECURSIVE waiting (webhook) AS (
    SELECT (SELECT min(webhook) FROM jobs WHERE head = 1 AND leased_until_ms IS NULL)
    UNION ALL
    SELECT (SELECT min(webhook) FROM jobs
            WHERE head = 1 AND leased_until_ms IS NULL AND webhook > waiting.webhook)
    FROM waiting WHERE waiting.webhook IS NOT NULL)
SELECT webhook FROM waiting WHERE webhook IS NOT NULL"""
DUE_HEADS = """
SELECT due_ms, seq FROM jobs WHERE head = 1 AND leased_until_ms IS NULL AND webhook = ? AND due_ms <= ?
ORDER BY due_ms, seq LIMIT ?"""
LEASE = """
UPDATE jobs SET leased_until_ms = ?, token = ?, attempt = attempt + 1, first_at_ms = coalesce(first_at_ms, ?),
    delay_ms = NULL
WHERE seq IN (SELECT value FROM json_each(?)) RETURNING seq, webhook, entry, attempt, first_at_ms"""
ENTRIES = """
SELECT entry, log_offset, nth, lane, event_id, kind, body, at_ms, position, trace, queued_at_ms FROM entries
WHERE entry IN (SELECT value FROM json_each(?))"""
NEXT_DUE = """
SELECT due_ms FROM jobs WHERE head = 1 AND leased_until_ms IS NULL AND webhook = ?
ORDER BY due_ms, seq LIMIT 1"""
NEXT_EXPIRY = "SELECT min(leased_until_ms) FROM jobs WHERE leased_until_ms IS NOT NULL"

# --- outcomes

RETRY = "UPDATE jobs SET leased_until_ms = NULL, token = NULL, due_ms = ?, reason = ?, delay_ms = ? WHERE seq = ?"
RELEASE = """
UPDATE jobs SET leased_until_ms = NULL, token = NULL, due_ms = min(due_ms, ?), attempt = attempt - 1 WHERE seq = ?"""
JOBS_BY_SEQ = """
SELECT seq, webhook, jobs.lane, entry, pending, token FROM jobs JOIN entries USING (entry)
WHERE seq IN (SELECT value FROM json_each(?))"""
DELETE_JOBS = "DELETE FROM jobs WHERE seq IN (SELECT value FROM json_each(?))"
SET_NEXT_HEADS = """
UPDATE jobs SET head = 1, due_ms = min(due_ms, ?1) WHERE seq IN (
    SELECT (SELECT seq FROM jobs WHERE webhook = lanes.value ->> 0 AND lane = lanes.value ->> 1 ORDER BY seq LIMIT 1)
    FROM json_each(?2) AS lanes)"""
SET_PENDING = "UPDATE entries SET pending = ? WHERE entry = ?"
DELETE_ENTRIES = "DELETE FROM entries WHERE entry IN (SELECT value FROM json_each(?))"
ANY_FAILING = "SELECT EXISTS (SELECT 1 FROM webhooks WHERE failures > 0)"
RESET_FAILURES = """
UPDATE webhooks SET failures = 0, failing_since_ms = NULL
WHERE failures > 0 AND webhook IN (SELECT value FROM json_each(?))"""
COUNT_FAILURE = """
UPDATE webhooks SET failures = failures + 1, failing_since_ms = coalesce(failing_since_ms, ?)
WHERE webhook = ?"""
FAILURE_STREAK = "SELECT failing_since_ms, failures FROM webhooks WHERE id = ? AND failures > 0"
JOBS_OF_WEBHOOK = """
SELECT seq, webhook, jobs.lane, entry, pending, token FROM jobs JOIN entries USING (entry)
WHERE webhook = ? ORDER BY jobs.lane, seq LIMIT ?"""

# --- statistics

STATS = """
SELECT jobs, (SELECT count(*) FROM jobs WHERE leased_until_ms IS NOT NULL),
    (SELECT at_ms FROM entries ORDER BY entry LIMIT 1)
FROM counts"""

BACKLOG = """
SELECT webhook, jobs, (
    SELECT count(*) FROM jobs AS job INDEXED BY leases
    WHERE job.webhook = webhooks.webhook AND leased_until_ms IS NOT NULL), failing_since_ms, failures
FROM webhooks WHERE id = ?"""
OLDEST_OF_WEBHOOK = """
SELECT min(at_ms) FROM entries WHERE entry IN (
    SELECT * FROM (
        SELECT entry FROM jobs WHERE head = 1 AND leased_until_ms IS NULL AND webhook = ?1
        ORDER BY due_ms, seq LIMIT ?2)
    UNION ALL SELECT * FROM (
        SELECT entry FROM jobs WHERE head = 1 AND leased_until_ms IS NULL AND webhook = ?1
        ORDER BY due_ms DESC, seq DESC LIMIT ?2)
    UNION ALL SELECT * FROM (
        SELECT entry FROM jobs INDEXED BY leases WHERE webhook = ?1 AND leased_until_ms IS NOT NULL LIMIT ?2))"""
NEXT_RETRY = """
SELECT min(due_ms) FROM jobs WHERE head = 1 AND leased_until_ms IS NULL AND webhook = ? AND due_ms > ?"""

# --- attempts

KEEP_ATTEMPT = "INSERT INTO attempts (webhook, content) VALUES (?, ?)"
FORGET_OLDER_ATTEMPTS = """
DELETE FROM attempts WHERE webhook = ?1 AND attempt <= (
    SELECT attempt FROM attempts WHERE webhook = ?1 ORDER BY attempt DESC LIMIT 1 OFFSET ?2)"""
ATTEMPTS = """
SELECT content FROM attempts WHERE webhook = (SELECT webhook FROM webhooks WHERE id = ?)
ORDER BY attempt DESC LIMIT ?"""
FORGET_ATTEMPTS = "DELETE FROM attempts WHERE webhook = (SELECT webhook FROM webhooks WHERE id = ?)"
