"""The store: the read model of the log. Protocol, with the promises every engine keeps.

R-1  `apply` is one transaction: rows, changes and offsets commit together or not at all.
R-2  Applying a record twice, or a prefix and then the rest, equals applying the whole once (`digest` proves it).
R-3  Every accepted fact yields its changes exactly once, in log order, under the position of its record.
R-4  A wiped store, folded again, answers the same and has no effects.
R-5  Queries are bounded: pages have a limit, no query scans without an index or a cap.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol, TypeVar

from msgspec import Struct

from airy.bus.record import Position, Record, TopicPartition
from airy.model.change import Change
from airy.model.conversation import Conversation, Message
from airy.model.dead import DeadDelivery
from airy.model.entity import Channel, Tag, Template, Webhook

T = TypeVar("T")
WorkKind = Literal["send", "profile"]


class Page(Struct, frozen=True):
    """`total` counts everything that matches. Cursors are opaque; None: no such page.

    With `complete` False, a filter without an index met more rows than a query may look at: `total` is what was counted
    until then, and a page shorter than asked for goes on at its `next_cursor`.
    """

    items: list[object]
    previous_cursor: str | None
    next_cursor: str | None
    total: int
    complete: bool = True


class ConversationView(Struct, frozen=True):
    """A conversation with what is shown around it. Exists only once its channel does."""

    conversation: Conversation
    channel: Channel
    last_message: Message | None


class Published(Struct, frozen=True, gc=False):
    """A change and the position of the fact it came from; `nth` orders the changes of one fact.

    `trace` is the `traceparent` of that record: told to whoever acts on the change, and no part of what is folded.
    """

    position: Position
    nth: int
    change: Change
    trace: str = ""


class Work(Struct, frozen=True):
    """Something a connector has to do, derived from the log: gone as soon as a fact says it is done."""

    kind: WorkKind
    source: str
    partition: int  # of the conversation in EVENTS
    conversation_id: str
    message_id: str | None  # for "send"
    due_ms: int
    state: str  # for "send": pending or sending
    channel_id: str = ""
    trace: str = ""  # for "send": the `traceparent` of the record that asked for it


class Landmark(Struct, frozen=True):
    """Which record was the last of EVENTS that was applied: in another log there is another one at its place."""

    position: Position
    fingerprint: int  # as the record says it


class Applied(Struct, frozen=True):
    facts: int  # accepted
    changes: int
    bad: list[tuple[Record, str]]  # records that could not be decoded, with the reason; their offsets are passed


class Store(Protocol):
    async def open(self) -> None: ...
    async def close(self) -> None: ...

    # --- folding
    async def positions(self) -> dict[TopicPartition, int]:
        """Per partition of FOLDED, the next offset to apply; missing: from the start."""
        ...

    async def landmark(self) -> Landmark | None:
        """None: nothing of EVENTS was applied."""
        ...

    async def apply(self, records: Sequence[Record]) -> Applied:
        """R-1..R-3. Records of one partition come in order; those below the store's position are ignored."""
        ...

    async def wipe(self) -> None: ...
    async def digest(self, *, changes: bool = False) -> str:
        """A hash over the whole read model, independent of engine, batch sizes and partition interleaving.

        With `changes`, also over the ids and bodies of those that were not forgotten.
        """
        ...

    # --- acting
    async def changes(self, where: TopicPartition, *, after: tuple[int, int], changes_max: int) -> list[Published]:
        """Changes with (offset, nth) greater than `after`, in order."""
        ...

    async def forget_changes(self, below: Mapping[TopicPartition, int]) -> int:
        """Prune changes of facts below the low-water mark of all readers; returns how many went."""
        ...

    async def forgotten(self) -> dict[TopicPartition, int]:
        """Per partition, below which offset changes may be gone; missing: none are, as after a wipe."""
        ...

    async def work(
        self,
        kind: WorkKind,
        source: str,
        *,
        partitions: Sequence[int],
        due_until_ms: int,
        work_max: int,
        channel_max: int | None = None,
        not_channels: Collection[str] = (),
    ) -> list[Work]:
        """At most one per conversation, soonest due first.

        Of "send", at most `channel_max` of one channel and none of `not_channels`: what a channel that is held back
        has waiting neither hides the others nor is read.

        "send": its oldest message that is sending, or pending and due, unless an older one is pending or sending
        (order within a conversation holds across retries; unknown and failed ones hold nobody up). A sending one is
        due at once.
        """
        ...

    async def accepted(self, conversation_id: str, fact_id: str) -> bool: ...

    # --- asking
    async def channels(self, *, source: str | None = None, connected_only: bool = True) -> list[Channel]: ...
    async def channel(self, channel_id: str) -> Channel | None: ...
    async def conversation(self, conversation_id: str) -> ConversationView | None: ...
    async def conversations(self, *, filters: str | None, cursor: str | None, page_size: int) -> Page:
        """Newest activity first; items are ConversationView. Bad filters or cursor raise `Refused` with its field."""
        ...

    async def message(self, message_id: str) -> Message | None: ...
    async def messages(self, conversation_id: str, *, cursor: str | None, page_size: int) -> Page:
        """Newest first by (sent_at, id); items are Message; deleted ones are left out."""
        ...

    async def tags(self) -> list[Tag]: ...
    async def tag(self, tag_id: str) -> Tag | None: ...
    async def templates(self, source: str) -> list[Template]: ...
    async def template(self, template_id: str) -> Template | None: ...
    async def webhooks(self) -> list[Webhook]: ...
    async def webhook(self, webhook_id: str) -> Webhook | None: ...
    async def dead_deliveries(self, *, webhook_id: str | None = None, cursor: str | None, page_size: int) -> Page:
        """Deliveries that were given up and are not being made again, newest first; items are DeadDelivery.

        One for each delivery, its newest burial. A bad cursor raises `Refused`.
        """
        ...

    async def burials(self, delivery_id: str) -> list[DeadDelivery]:
        """All of one delivery, newest first; the newest says how it stands."""
        ...

    async def replays(self, *, after: tuple[int, str], replays_max: int) -> list[DeadDelivery]:
        """Deliveries that are to be made again and that nobody has made yet, by (since when, id), from `after` on."""
        ...

    async def old_burials(self, *, keep_max: int, before_ms: int, burials_max: int) -> list[str]:
        """Ids of burials that nobody has to keep: before a time, or beyond the newest so many; oldest first."""
        ...

    async def counts(self) -> dict[str, int]:
        """conversations, messages, channels, changes, send_pending, send_unknown, webhooks_dead: for metrics and
        status.
        """
        ...
