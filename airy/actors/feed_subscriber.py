"""What the broadcaster and one subscription of the change feed share: a scope, and a bounded queue between them.

The queue is a mailbox. When it is full, the broadcaster neither waits nor drops: it stops the subscriber, which then
reads what it lacks from the store by itself (see `change_feed`). The broadcaster is never slowed by a slow client.
"""

from collections.abc import Collection
from enum import StrEnum

from msgspec import Struct

from airy.actors.change_sink import ChangeId
from airy.actors.feed_position import Epoch, FeedPosition, encode, read_token
from airy.actors.runtime import Mailbox
from airy.model.change import Change, ChangeKind
from airy.store.api import StoredChange
from airy.topics import position_token


class FeedLimits(Struct, frozen=True, kw_only=True):
    subscribers_max: int = 10_000  # in this process
    queue_items_max: int = 256  # of one subscriber
    queue_bytes_max: int = 1_048_576  # of bodies in that queue, which subscribers share
    send_s_max: float = 10.0  # for one item, before the client counts as too slow
    behind_s_max: float = 30.0  # from a full queue until the client has everything again
    fold_s_max: float = 5.0  # how long a position is waited for that this process has not folded
    join_s_max: float = 10.0  # for the broadcaster to answer
    checkpoint_s: float = 60.0  # between positions sent to a client that receives no changes


class FeedScope(Struct, frozen=True, kw_only=True):
    """Which changes a client gets. An empty collection means all."""

    kinds: frozenset[ChangeKind] = frozenset()
    conversations: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()

    @property
    def everything(self) -> bool:
        return not (self.kinds or self.conversations or self.channels)

    def contains(self, change: Change) -> bool:
        """A change that belongs to no conversation or channel, such as a tag's, is in no scope that names some."""
        return (
            (not self.kinds or change.kind in self.kinds)
            and (not self.conversations or change.lane in self.conversations)
            and (not self.channels or change.channel_id in self.channels)
        )


class FeedEvent:
    """A change on its way to clients, with the position after it. One object serves all subscribers of a process:
    `texts` keeps what was rendered of it, by the name of the form.
    """

    __slots__ = ("_epoch", "_token", "complete", "index", "position", "size", "stored", "texts")

    def __init__(
        self, index: int, stored: StoredChange, before: FeedPosition, epoch: Epoch | None, *, complete: bool
    ) -> None:
        self.index = index  # of its partition in PARTITIONS
        self.stored = stored
        self.size = len(stored.change.body)  # bytes
        self.complete = complete  # it is the last change of its record
        self.position = before.with_change(index, stored, complete=complete)
        self.texts: dict[str, str] = {}
        self._epoch = epoch
        self._token = ""

    @property
    def change_id(self) -> ChangeId:
        return self.stored.position.offset, self.stored.nth

    @property
    def resume(self) -> str:
        """The token to continue after this change."""
        if not self._token:
            self._token = encode(self.position, self._epoch)
        return self._token

    @property
    def read_position(self) -> str:
        """The position of the record that caused the change, for `X-Airy-Position`."""
        return position_token(self.stored.position)


class FeedMark:
    """A position without a change. `ready`: everything before it is delivered, what follows is live. `resync`: changes
    before it are missing, so the client has to read its state anew. `position`: a later position to resume from.
    """

    __slots__ = ("_epoch", "kind", "position", "reason")
    size = 0

    def __init__(self, kind: "MarkKind", position: FeedPosition, epoch: Epoch | None, reason: str = "") -> None:
        self.kind = kind
        self.position = position
        self.reason = reason
        self._epoch = epoch

    @property
    def resume(self) -> str:
        return encode(self.position, self._epoch)

    @property
    def read_position(self) -> str:
        """What a read has to present so that it shows everything before the mark."""
        return read_token(self.position)


class MarkKind(StrEnum):
    READY = "ready"
    RESYNC = "resync"
    POSITION = "position"


FeedItem = FeedEvent | FeedMark


class Subscriber:
    """Live until `stop`. `stopped_at` is the position up to which everything in scope is delivered or queued."""

    __slots__ = ("_bytes_max", "_queued_bytes", "everything", "live", "mailbox", "scope", "stopped_at")

    def __init__(self, scope: FeedScope, limits: FeedLimits) -> None:
        self.scope = scope
        self.everything = scope.everything
        self.live = True
        self.stopped_at: FeedPosition | None = None
        self.mailbox: Mailbox[FeedItem | None] = Mailbox(limits.queue_items_max, control_capacity=1)
        self._bytes_max = limits.queue_bytes_max
        self._queued_bytes = 0

    def offer(self, item: FeedItem) -> bool:
        """False: the queue is full."""
        queued = self._queued_bytes + item.size
        if (queued > self._bytes_max and self._queued_bytes) or not self.mailbox.address.offer(item):
            return False
        self._queued_bytes = queued
        return True

    def stop(self, at: FeedPosition | None) -> None:
        """Nothing more is offered. None: the position is not known."""
        self.live, self.stopped_at = False, at
        self.mailbox.address.offer(None)  # wakes a subscription that waits; if the queue is full, it does not wait

    async def take(self, items_max: int = 64) -> Collection[FeedItem]:
        """The next items, in order. Empty: the subscriber was stopped, and everything was taken."""
        while self.live or self.mailbox.used:
            items = [item for item in await self.mailbox.get_batch(items_max) if item is not None]
            for item in items:
                self._queued_bytes -= item.size
            if items:
                return items
        return ()
