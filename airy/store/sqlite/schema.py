"""The tables of the SQLite store, and how a store file is recognised.

A conversation and a message are one row each: a JSON body, and the columns that an index or a filter needs. Rows are
referenced by integers inside the file and by ids outside. Every message pays for every index, so there are few.
`conversations_activity` covers the filterable columns: a scan, newest first, never reads the rows themselves. Lists
follow the log: messages their `sequence`, conversations the arrival of their newest message (`activity_at`).
`messages.offsets` lists the records that changed a message, for message traces: decimal offsets, each behind a comma.

The file is a cache of the log: a change of schema, fold or topics rebuilds it, and nothing is migrated.
"""

from typing import Literal
from zlib import crc32

import apsw

from airy import topics
from airy.model.fold import FOLD_VERSION
from airy.store.search_words import WORDS_VERSION
from airy.store.sqlite import conversation_index, message_index

APPLICATION_ID = 0x41697279

TABLES = """
CREATE TABLE conversations(
  n INTEGER PRIMARY KEY,
  id NOT NULL UNIQUE,
  channel,
  created_at INTEGER NOT NULL DEFAULT 0,
  last_message_at INTEGER NOT NULL DEFAULT 0,
  activity_at INTEGER NOT NULL DEFAULT 0,
  visible INTEGER NOT NULL DEFAULT 0,
  has_unread INTEGER NOT NULL DEFAULT 0,
  unread_count INTEGER NOT NULL DEFAULT 0,
  messages INTEGER NOT NULL DEFAULT 0,
  contacted INTEGER NOT NULL DEFAULT 0,
  has_contact INTEGER NOT NULL DEFAULT 0,
  state TEXT,
  name TEXT NOT NULL DEFAULT '',
  body BLOB
);
CREATE INDEX conversations_activity ON conversations(
  activity_at DESC, id DESC, channel, created_at, last_message_at, unread_count, state, name
) WHERE visible = 1;
CREATE INDEX conversations_created ON conversations(created_at);
CREATE INDEX conversations_channel ON conversations(channel);
CREATE INDEX conversations_unread ON conversations(channel) WHERE has_unread = 1;
CREATE INDEX conversations_state ON conversations(state) WHERE state IS NOT NULL;
CREATE INDEX conversations_unlisted ON conversations(visible) WHERE visible <> 1;
CREATE TABLE conversation_counts(
  channel NOT NULL, state TEXT NOT NULL, has_unread INTEGER NOT NULL, conversations INTEGER NOT NULL,
  PRIMARY KEY(channel, state, has_unread)
) WITHOUT ROWID;
CREATE TABLE channel_activity(
  channel NOT NULL PRIMARY KEY, inbound_at INTEGER NOT NULL, outbound_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE conversation_tags(
  tag NOT NULL, conversation INTEGER NOT NULL, PRIMARY KEY(tag, conversation)
) WITHOUT ROWID;

CREATE TABLE messages(
  n INTEGER PRIMARY KEY,
  id NOT NULL,
  conversation INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  open_at INTEGER,
  offsets TEXT NOT NULL,
  body BLOB NOT NULL
);
CREATE UNIQUE INDEX messages_id ON messages(id, conversation);
CREATE INDEX messages_recent ON messages(conversation, sequence DESC) WHERE deleted = 0;
CREATE INDEX messages_open ON messages(conversation, open_at) WHERE open_at IS NOT NULL;
CREATE TABLE provider_ids(
  provider_id TEXT NOT NULL, conversation INTEGER NOT NULL, message NOT NULL, PRIMARY KEY(provider_id, conversation)
) WITHOUT ROWID;

CREATE TABLE aliases(
  channel NOT NULL, name TEXT NOT NULL, conversation INTEGER NOT NULL, since INTEGER NOT NULL,
  PRIMARY KEY(channel, name, conversation)
) WITHOUT ROWID;

CREATE TABLE seen(
  conversation INTEGER NOT NULL, fact NOT NULL, accepted INTEGER NOT NULL, PRIMARY KEY(conversation, fact)
) WITHOUT ROWID;

CREATE TABLE sends(
  conversation INTEGER NOT NULL, sequence INTEGER NOT NULL, conversation_id TEXT NOT NULL, message_id TEXT NOT NULL,
  channel_id TEXT NOT NULL, source TEXT NOT NULL, "partition" INTEGER NOT NULL, state TEXT NOT NULL,
  due INTEGER NOT NULL, since INTEGER NOT NULL, head_due INTEGER, trace TEXT, attempted INTEGER NOT NULL,
  PRIMARY KEY(conversation, sequence)
) WITHOUT ROWID;
CREATE INDEX sends_due ON sends(source, channel_id, head_due, since) WHERE head_due IS NOT NULL;
CREATE TABLE profiles(
  source TEXT NOT NULL, connected INTEGER NOT NULL, conversation INTEGER NOT NULL, conversation_id TEXT NOT NULL,
  channel_id TEXT NOT NULL, "partition" INTEGER NOT NULL,
  PRIMARY KEY(source, connected, conversation)
) WITHOUT ROWID;

CREATE TABLE entities(
  topic INTEGER NOT NULL, id NOT NULL, source TEXT, connected INTEGER NOT NULL, version INTEGER NOT NULL,
  body BLOB NOT NULL, PRIMARY KEY(topic, id)
) WITHOUT ROWID;
CREATE TABLE deleted_entities(
  topic INTEGER NOT NULL, id NOT NULL, version INTEGER NOT NULL, PRIMARY KEY(topic, id)
) WITHOUT ROWID;
CREATE TABLE entity_writes(
  topic INTEGER NOT NULL, entity NOT NULL, write NOT NULL, PRIMARY KEY(topic, entity, write)
) WITHOUT ROWID;

CREATE TABLE contacts(
  id NOT NULL PRIMARY KEY, version INTEGER NOT NULL, body BLOB, conversation, listed INTEGER NOT NULL,
  unnamed INTEGER NOT NULL, name TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX contacts_name ON contacts(unnamed, name, id) WHERE listed = 1;
CREATE TABLE contact_links(conversation NOT NULL PRIMARY KEY, contact NOT NULL) WITHOUT ROWID;
CREATE TABLE contact_deletions(conversation NOT NULL PRIMARY KEY, messages INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE dead_deliveries(
  id TEXT NOT NULL PRIMARY KEY, delivery TEXT NOT NULL, webhook NOT NULL, died_at INTEGER NOT NULL, replayed_at INTEGER,
  body BLOB NOT NULL
);
CREATE INDEX dead_deliveries_newest ON dead_deliveries(died_at, id);
CREATE INDEX dead_deliveries_webhook ON dead_deliveries(webhook, died_at, id);
CREATE INDEX dead_deliveries_delivery ON dead_deliveries(delivery, died_at, id, replayed_at);
CREATE INDEX dead_deliveries_replays ON dead_deliveries(replayed_at, id) WHERE replayed_at IS NOT NULL;

CREATE TABLE changes(
  n INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, total INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX changes_first ON changes(first);
CREATE TABLE offsets(
  topic INTEGER NOT NULL, "partition" INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY(topic, "partition")
) WITHOUT ROWID;
CREATE TABLE last_applied(
  one INTEGER PRIMARY KEY CHECK (one = 1), "partition" INTEGER NOT NULL, "offset" INTEGER NOT NULL,
  fingerprint INTEGER NOT NULL
);
CREATE TABLE pruned_below(
  topic INTEGER NOT NULL, "partition" INTEGER NOT NULL, below INTEGER NOT NULL, PRIMARY KEY(topic, "partition")
) WITHOUT ROWID;
CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""

HIDDEN, LISTED, NO_CHANNEL = 0, 1, 2  # `visible`: no message yet; listed; listed once its channel has a record

COUNTERS = (
    "conversations",
    "messages",
    "contacts",
    "channels",
    "changes",
    "send_pending",
    "send_unknown",
    "dead_deliveries",
)

TOPIC_INDEX = {topic.name: index for index, topic in enumerate(topics.FOLDED)}

ALL_TABLES = TABLES + message_index.TABLES + conversation_index.TABLES

_SHAPE = (
    f"{FOLD_VERSION}\n{WORDS_VERSION}\n{conversation_index.MARKS_VERSION}\n{ALL_TABLES}\n{sorted(TOPIC_INDEX.items())}"
)
VERSION = crc32(_SHAPE.encode()) & 0x7FFF_FFFF | 1
"""`user_version` of a file this code can use."""

_OFFSET_BITS = 47
_PARTITION_BITS = 12
OFFSET_END = 1 << _OFFSET_BITS


def position_key(topic: int, partition: int, offset: int) -> int:
    """Topic, partition and offset as one integer with the same order."""
    if partition >> _PARTITION_BITS or offset >> _OFFSET_BITS:
        message = f"partition {partition}, offset {offset}: out of range for a position key"
        raise OverflowError(message)
    return (topic << _PARTITION_BITS | partition) << _OFFSET_BITS | offset


def create(connection: apsw.Connection) -> None:
    with connection:
        connection.execute(ALL_TABLES)
        connection.executemany("INSERT INTO counters VALUES(?, 0)", [(name,) for name in COUNTERS])
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", VERSION)


StoreFileState = Literal["empty", "current", "stale", "foreign"]


def state_of(connection: apsw.Connection) -> StoreFileState:
    """empty, current, stale (a store of another version) or foreign."""
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get  # first: it fails on a damaged file
    if connection.pragma("application_id") == APPLICATION_ID:
        return "current" if connection.pragma("user_version") == VERSION else "stale"
    return "foreign" if tables else "empty"
