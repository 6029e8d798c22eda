"""The port of the webhook queue: the undelivered suffix of the log, scheduled. A cache; the log is the record of truth.

Q-1 The id of an entry is the position of its change: (offset, nth). Within a shard (one partition of one topic) ids
     grow. `put` names the id it expects to be the last (`after`) and is otherwise refused with `PositionConflict`. So
     neither a second publisher nor a lost answer nor a rolled-back queue can duplicate or skip an entry: the publisher
     reads the position again and continues from there.
Q-2 A job is leased once within a lease; an expired lease makes it due again. A token guards `complete`, `retry` and
     `dead_letter`: a worker whose lease expired gets False and must discard its outcome.
Q-3 Order per lane (webhook, conversation): a job is leased only when all earlier jobs of its lane are complete or dead.
     Other lanes do not wait. A job that is leased again goes before those behind it.
Q-4 `low_water` is the id below which everything is complete or dead. Only that may be committed to the log, so losing
     the whole queue re-sends some deliveries with their old ids and loses none.
Q-5 Everything is bounded: `put` raises `QueueFull` above `jobs_max`, and the publisher waits; the log holds the rest.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from msgspec import Struct

from airy.errors import AiryError, Unavailable
from airy.model.dead_delivery import DeadDelivery
from airy.model.delivery_attempt import DeliveryAttempt
from airy.queue.fair_shares import Divide

EntryId = tuple[int, int]  # (offset, nth)
NO_ENTRY: EntryId = (-1, -1)
NO_LIMITS: Mapping[str, int] = MappingProxyType({})
ATTEMPTS_MAX = 50  # kept of each webhook
OLDEST_HEADS_MAX = 200  # heads of a webhook that are read from either end to find the oldest job


class Shard(Struct, frozen=True):
    topic: str
    partition: int


class QueueEntry(Struct, frozen=True, gc=False):
    """One change and the webhooks it is delivered to; without any, only the position moves."""

    id: EntryId
    webhook_ids: tuple[str, ...]
    lane: str  # the conversation or entity whose order is kept
    event_id: str  # the id of the change: `webhook-id` of every delivery
    kind: str
    body: bytes
    at_ms: int
    position: str  # opaque token for X-Airy-Position
    trace: str = ""  # `traceparent` of the record that caused the change; empty: none
    queued_at_ms: int | None = None  # by the publisher's clock; None: not kept


class Job(Struct, frozen=True, gc=False):
    """A leased delivery."""

    id: str  # "<event id>:<webhook id>"
    token: str
    webhook_id: str
    entry: QueueEntry
    attempt: int  # 1 for the first
    first_at_ms: int  # when it was first leased; the retry schedule counts from here
    leased_until_ms: int


class FailureStreak(Struct, frozen=True):
    """Consecutive failed attempts of a webhook."""

    since_ms: int  # the first failure after the last success
    attempts: int  # failed attempts since then


class WebhookBacklog(Struct, frozen=True):
    """What waits for one webhook."""

    waiting: int
    leased: int
    oldest_at_ms: int | None  # `at_ms` of the oldest job; where over twice `OLDEST_HEADS_MAX` lanes wait, of those read
    retry_at_ms: int | None  # when the next job that failed is due again
    failing: FailureStreak | None


class QueuePosition(Struct, frozen=True, gc=False):
    """Of a shard."""

    last: EntryId
    low_water: EntryId


class QueueStats(Struct, frozen=True):
    waiting: int
    leased: int
    oldest_at_ms: int | None  # `at_ms` of the oldest undelivered entry


class PositionConflict(AiryError):
    """The last id of the shard is not the one that `put` expected."""

    def __init__(self, last: EntryId) -> None:
        super().__init__(f"the queue is at {last[0]}-{last[1]}: read its position again")
        self.last = last


class QueueFull(Unavailable):
    """The queue holds as much as it may."""


class LegacyDeadLetters(Protocol):
    """Dead deliveries that an earlier version kept in the queue. Each has a number that grows."""

    async def read_oldest(self, dead_max: int) -> list[tuple[int, DeadDelivery]]: ...
    async def delete_through(self, number: int) -> None: ...


class WebhookQueue(Protocol):
    @property
    def claim_interval_s(self) -> float:
        """The least time between two claims: where a claim has a fixed cost, few large ones are cheaper."""
        ...

    @property
    def legacy_dead_letters(self) -> LegacyDeadLetters | None:
        """None: the backend never kept any."""
        ...

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    def now_ms(self, clock_ms: int) -> int:
        """The time by the clock that all users of the queue share; `clock_ms`: by the process's own. Due times and
        leases are times of this clock: else a dispatcher whose clock is ahead would end the leases of the others.
        """
        ...

    async def last(self, shard: Shard) -> EntryId: ...
    async def put(self, shard: Shard, entries: Sequence[QueueEntry], *, after: EntryId) -> None:
        """Puts all entries in order, or a prefix. Raises `PositionConflict`, `QueueFull`, `Unavailable`."""
        ...

    async def claim(
        self,
        *,
        now_ms: int,
        lease_ms: int,
        jobs_max: int,
        per_webhook_max: int,
        webhook_limits: Mapping[str, int] = NO_LIMITS,
        divide: Divide | None = None,
    ) -> list[Job]:
        """Leases due heads of lanes, at most `jobs_max`; of each webhook the oldest, and as many as `divide` says: by
        default the same number for each.

        At most `per_webhook_max` of a webhook are leased at once by all dispatchers together; for some webhooks
        `webhook_limits` has another limit, 0 to leave it out.

        The first claim of a process, and one whose `now_ms` is before that of the last, first bring back what lies
        further ahead than it can: leases beyond `lease_ms`, retries beyond their delay, and new deliveries. A job whose
        lease was released or has expired is due.
        """
        ...

    async def complete(self, job: Job) -> bool: ...
    async def retry(self, job: Job, *, now_ms: int, due_ms: int, reason: str) -> bool:
        """Ends the lease. The job is due again at `due_ms`, at most `due_ms - now_ms` after any claim."""
        ...

    async def release(self, job: Job) -> bool:
        """Ends the lease of a job that was not attempted: due as before, and the attempt is not counted."""
        ...

    async def dead_letter(self, job: Job, *, now_ms: int) -> bool:
        """Removes a job that failed for good, so that its lane continues. The caller has written it to the log."""
        ...

    async def drop_webhook(self, webhook_id: str) -> int:
        """Deletes all jobs of a webhook that was unsubscribed; returns how many."""
        ...

    async def failure_streak(self, webhook_id: str) -> FailureStreak | None:
        """The `retry` and `dead_letter` outcomes since the last `complete`; None without any."""
        ...

    async def next_due_ms(self) -> int | None:
        """The earliest time a head becomes due or a lease expires; None without jobs.

        `per_webhook_max`, `webhook_limits` or `divide` may still hold back a due job.
        """
        ...

    async def low_water(self, shard: Shard) -> EntryId:
        """The first undelivered id, else the id right after `last`; `NO_ENTRY` before the first put."""
        ...

    async def positions(self, shards: Sequence[Shard]) -> list[QueuePosition | Unavailable]:
        """The position of each shard, in one request; an `Unavailable` for each that cannot be read now."""
        ...

    async def replay(self, shard: Shard, entry: QueueEntry, *, now_ms: int) -> bool:
        """Queues a dead delivery again, with the same id and bytes, at the end of its lane.

        `entry` names its one webhook. Returns False if an earlier replay of it is still queued. The low-water mark,
        which is past it, does not move.
        """
        ...

    async def stats(self) -> QueueStats: ...

    # --- for operators

    async def backlogs(self, webhook_ids: Sequence[str], *, now_ms: int) -> list[WebhookBacklog]:
        """Of each webhook, in order. `now_ms`: by the queue's clock."""
        ...

    async def keep_attempts(self, attempts: Sequence[DeliveryAttempt]) -> None:
        """Keeps the newest `ATTEMPTS_MAX` of each webhook, in the order they were given."""
        ...

    async def attempts(self, webhook_ids: Sequence[str], *, attempts_max: int) -> list[list[DeliveryAttempt]]:
        """Of each webhook, in order: the kept attempts, newest first. Those of a lost queue are lost with it."""
        ...

    async def forget_attempts(self, webhook_id: str) -> None:
        """Of a webhook that was deleted."""
        ...


def newest_attempts(attempts: Sequence[DeliveryAttempt], kept_max: int) -> dict[str, list[DeliveryAttempt]]:
    """The last `kept_max` of each webhook, by webhook, in order."""
    found: dict[str, list[DeliveryAttempt]] = {}
    for one in attempts:
        found.setdefault(one.webhook_id, []).append(one)
    return {webhook_id: several[-kept_max:] for webhook_id, several in found.items()}
