"""The figures of single webhooks over all shards."""

from collections.abc import Sequence

from airy.queue.api import OLDEST_HEADS_MAX, FailureStreak, WebhookBacklog
from airy.queue.redis import scripts
from airy.queue.redis.connection import RedisConnection, command, script
from airy.queue.redis.keys import KeyNames

COPIES_MAX = 20  # calls per shard before the figures are read: beyond some thousand entries a dispatcher is missing
WEBHOOKS_PER_CALL_MAX = 50  # bounds how long one script blocks Redis


async def read_backlogs(
    connection: RedisConnection,
    names: KeyNames,
    bases: Sequence[str],
    webhook_ids: Sequence[str],
    *,
    now_ms: int,
    before_ms: int,
) -> list[WebhookBacklog]:
    """Of each webhook, in order. `before_ms`: time of the previous claim, since which copied entries are due."""
    await _copy(connection, bases, before_ms)
    found: list[WebhookBacklog] = []
    for start in range(0, len(webhook_ids), WEBHOOKS_PER_CALL_MAX):
        some = webhook_ids[start : start + WEBHOOKS_PER_CALL_MAX]
        shards = [script(scripts.BACKLOG, base, now_ms, OLDEST_HEADS_MAX, *some) for base in bases]
        streaks = [command("HMGET", names.failure_streak(each), "since", "attempts") for each in some]
        replies = await connection.execute([*streaks, *shards])
        for index, (since, attempts) in enumerate(replies[: len(some)]):
            rows = [reply[4 * index : 4 * index + 4] for reply in replies[len(some) :]]
            found.append(_backlog(rows, since, attempts))
    return found


async def _copy(connection: RedisConnection, bases: Sequence[str], before_ms: int) -> None:
    """Entries that no dispatcher has copied yet become jobs, as far as `COPIES_MAX` calls bring them."""
    uncopied = list(bases)
    for _ in range(COPIES_MAX):
        if not uncopied:
            return
        more = await connection.execute([script(scripts.COPY, base, before_ms) for base in uncopied])
        uncopied = [base for base, some in zip(uncopied, more, strict=True) if some]


def _backlog(
    rows: Sequence[tuple[int, int, bytes, bytes]], since: bytes | None, attempts: bytes | None
) -> WebhookBacklog:
    """`rows`: of each shard, what the script returns of one webhook."""
    jobs, leased = sum(row[0] for row in rows), sum(row[1] for row in rows)
    oldest = [int(float(row[2])) for row in rows if row[2]]
    retries = [int(float(row[3])) for row in rows if row[3]]
    failing = FailureStreak(int(since), int(attempts)) if since and attempts else None
    return WebhookBacklog(jobs - leased, leased, min(oldest, default=None), min(retries, default=None), failing)
