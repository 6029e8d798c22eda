"""The webhook queue: the undelivered suffix of the log, scheduled. A cache, never the record of truth.

Q-1 The id of an entry is the position of its change: (offset, nth). Within a shard (one partition of one
     topic) ids grow; `put` names the id it expects to be the last (`after`), and is refused with `Stale`
     otherwise. So a second publisher, a lost answer or a rolled-back queue can neither double nor skip:
     re-read `last` and go on from there.
Q-2 Nothing is handed out twice within a lease; an expired lease returns its job. A token guards `done`,
     `retry`, `bury`: a slow worker whose lease ran out gets False and must forget its outcome.
Q-3 Order per lane (webhook, conversation): a job is handed out only when all earlier jobs of its lane are
     done or buried. Other lanes do not wait. A job that is handed out again goes before what is behind it.
Q-4 `low_water` is the id below which everything is done or buried. Only that may be committed to the log,
     so losing the whole queue re-sends some deliveries with their old ids and loses none.
Q-5 Everything is bounded: `put` raises `Full` above `jobs_max`, and the publisher waits; the log holds
     the rest.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from airy.errors import AiryError, Unavailable

EntryId = tuple[int, int]  # (offset, nth)
NOTHING: EntryId = (-1, -1)


class Shard(Struct, frozen=True):
    topic: str
    partition: int


class Entry(Struct, frozen=True, gc=False):
    """One change and the webhooks it goes to (none: only the position moves)."""

    id: EntryId
    webhook_ids: tuple[str, ...]
    lane: str  # the conversation (or entity) order is kept in
    event_id: str  # the change's id: `webhook-id` of every delivery
    kind: str
    body: bytes
    at_ms: int
    position: str  # opaque token for X-Airy-Position
    trace: str = ""  # `traceparent` of the record the change came from; empty: it had none


class Job(Struct, frozen=True, gc=False):
    """A leased delivery."""

    id: str  # "<event id>:<webhook id>"
    token: str
    webhook_id: str
    entry: Entry
    attempt: int  # 1 for the first
    first_at_ms: int  # when it was first handed out; the schedule counts from here
    leased_until_ms: int


class Failing(Struct, frozen=True):
    """A webhook none of whose attempts succeeded for a while."""

    since_ms: int  # its first failure after the last success
    attempts: int  # failed since then


class Mark(Struct, frozen=True, gc=False):
    """Where a shard is."""

    last: EntryId
    low: EntryId


class QueueStats(Struct, frozen=True):
    waiting: int
    leased: int
    oldest_at_ms: int | None  # `at_ms` of the oldest undelivered


class Stale(AiryError):
    """The queue's last id is not the one the publisher expected."""

    def __init__(self, last: EntryId) -> None:
        super().__init__(f"the queue is at {last[0]}-{last[1]}: read its position again")
        self.last = last


class Full(Unavailable):
    pass


class WebhookQueue(Protocol):
    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def last(self, shard: Shard) -> EntryId: ...
    async def put(self, shard: Shard, entries: Sequence[Entry], *, after: EntryId) -> None:
        """All in order, or a prefix of them. Raises `Stale`, `Full`, `Unavailable`."""
        ...

    async def claim(
        self,
        *,
        now_ms: int,
        lease_ms: int,
        jobs_max: int,
        per_webhook_max: int,
        not_webhooks: frozenset[str] = frozenset(),
    ) -> list[Job]:
        """Due heads of lanes, oldest first; at most `per_webhook_max` leased at once per webhook."""
        ...

    async def done(self, job: Job) -> bool: ...
    async def retry(self, job: Job, *, due_ms: int, reason: str) -> bool: ...
    async def release(self, job: Job) -> bool:
        """Give back what was not attempted: due as before, and not counted."""
        ...

    async def bury(self, job: Job, *, now_ms: int) -> bool:
        """Give it up, and let its lane go on. Nothing of it stays here: what is to be kept is in the log by then."""
        ...

    async def drop_webhook(self, webhook_id: str) -> int:
        """Forget all jobs of a webhook that was unsubscribed; returns how many."""
        ...

    async def failing(self, webhook_id: str) -> Failing | None:
        """Since when `retry` and `bury` were all that was said about it; one `done` ends that."""
        ...

    async def next_due_ms(self) -> int | None:
        """When a head becomes due, or a lease runs out; None: there is nothing.

        What is due may still be held back by `per_webhook_max` or `not_webhooks`.
        """
        ...

    async def low_water(self, shard: Shard) -> EntryId:
        """The first undelivered id, else the one right after `last`; `NOTHING` before the first put."""
        ...

    async def marks(self, shards: Sequence[Shard]) -> list[Mark | Unavailable]:
        """`last` and `low_water` of each, asked at once; of one that cannot be asked now, why."""
        ...

    async def replay(self, shard: Shard, entry: Entry, *, now_ms: int) -> bool:
        """Hand a delivery out again that was buried, same id and bytes, behind what waits in its lane.

        `entry` names its one webhook. False: it is here already, replayed before. The low-water mark, which has passed
        it, stays where it is.
        """
        ...

    async def stats(self) -> QueueStats: ...
