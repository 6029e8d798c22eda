"""The store: the read model of the log. The port, with the guarantees every engine keeps.

R-1  `apply` is one transaction: rows, changes and offsets commit together or not at all.
R-2  Applying a record twice, or a prefix and then the rest, equals applying the whole once (`digest` proves it).
R-3  Every accepted fact yields its changes exactly once, in log order, under the position of its record.
R-4  A wiped store that is folded again answers the same, and folding has no side effects.
R-5  Queries are bounded: pages have a limit, and no query scans without an index or a cap.
R-6  A record of a kind or version that this process does not know is not skipped: it holds its partition. The position
     stays before it, and no later record of that partition is applied. Other partitions are not affected.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from msgspec import Struct

from airy.bus.record import Position, Record, TopicPartition
from airy.bus.record_schema import Hold
from airy.bus.topic import Topic
from airy.model.change import Change
from airy.model.contact_view import ContactView
from airy.model.conversation import Conversation, Message
from airy.model.dead_delivery import DeadDelivery
from airy.model.entity import ApiToken, Channel, CustomSource, Tag, Template, User, Webhook
from airy.model.identity import IdentityKey

T = TypeVar("T")

NAMED_MAX = 100  # messages with one provider id
WorkKind = Literal["send", "profile"]


class Page(Struct, Generic[T], frozen=True):
    """`total` is the number of all matches. Cursors are opaque; None: no such page.

    `complete` is False when a filter without an index reached the cap on scanned rows: `total` is the count up to
    there, and a page shorter than requested continues at its `next_cursor`.
    """

    items: list[T]
    previous_cursor: str | None
    next_cursor: str | None
    total: int
    complete: bool = True


class ConversationView(Struct, frozen=True):
    """A conversation with its channel and last message. It exists once its channel has a record."""

    conversation: Conversation
    channel: Channel
    last_message: Message | None


class StoredChange(Struct, frozen=True, gc=False):
    """A change and the position of the fact that caused it; `nth` is its index among the changes of that fact.

    `trace` is the `traceparent` of that record, for readers of the change; it is not part of the folded state.
    """

    position: Position
    nth: int
    change: Change
    trace: str = ""


class FoldedMessage(Struct, frozen=True):
    """A message, and the offsets of the accepted records of EVENTS that changed it: oldest first, the first one created
    it. They are in the partition of its conversation. Of a message with very many changes, the latest are left out.
    """

    message: Message
    offsets: tuple[int, ...]


class WorkKey(NamedTuple):
    """A part of the pending work: of one kind, for one kind of channel."""

    kind: WorkKind
    source: str  # the name of the kind of channel; "": of messages without a channel


class Work(Struct, frozen=True):
    """Pending work of a connector, derived from the log: it is gone once a fact records that it is done."""

    kind: WorkKind
    source: str  # as in `WorkKey`
    partition: int  # of the conversation in EVENTS
    conversation_id: str
    message_id: str | None  # for "send"
    due_ms: int
    state: str  # for "send": pending or sending
    channel_id: str = ""
    trace: str = ""  # for "send": the `traceparent` of the record that requested it
    attempted_ms: int = 0  # for "send": when the last attempt started
    since_ms: int = 0  # for "send": when the message was written

    @property
    def place(self) -> tuple[int, int, str]:
        """Of a send in the order of `WorkReader.work`."""
        return self.due_ms, self.since_ms, self.conversation_id


class LastApplied(Struct, frozen=True):
    """The last applied record of EVENTS. Identifies the log: another log has another record at that position."""

    position: Position
    fingerprint: int  # `Record.fingerprint`


class Applied(Struct, frozen=True):
    facts: int  # accepted
    changes: int
    unprocessable: list[tuple[Record, str]]  # records that could not be decoded or folded, with the reason; skipped
    held: Mapping[TopicPartition, Hold] = {}  # all partitions that are held now
    touched: frozenset[WorkKey] = frozenset()  # every part of the pending work that changed, and perhaps others
    read: tuple[str, ...] = ()  # conversations that were marked as read


class FoldedPositions(Protocol):
    async def positions(self) -> dict[TopicPartition, int]:
        """The next offset to apply, per partition of FOLDED; a missing partition starts at the beginning."""
        ...


class FoldingStore(FoldedPositions, Protocol):
    """For the owner of the fold: the only part that changes rows or deletes them."""

    @property
    def damaged(self) -> bool:
        """Whether a read or write found damage that `recover` will repair."""
        ...

    async def recover(self) -> None:
        """Wipe the store if its data was damaged. Called before the log is read from its positions."""
        ...

    async def last_applied(self) -> LastApplied | None:
        """None: no record of EVENTS was applied."""
        ...

    async def apply(self, records: Sequence[Record]) -> Applied:
        """R-1..R-3, R-6. Records of one partition are given in order; those below the store's position are ignored."""
        ...

    async def wipe(self) -> None: ...


class ChangeReader(Protocol):
    async def changes(self, tp: TopicPartition, *, after: tuple[int, int], changes_max: int) -> list[StoredChange]:
        """Changes with (offset, nth) greater than `after`, in order."""
        ...

    async def pruned_below(self) -> dict[TopicPartition, int]:
        """Per partition, the offset below which changes may be deleted; missing: none are, as after a wipe."""
        ...


class PrunableChanges(FoldedPositions, Protocol):
    async def prune_changes(self, below: Mapping[TopicPartition, int]) -> int:
        """Delete changes of facts below these offsets: the lowest position of all readers. Returns how many."""
        ...


class WorkReader(Protocol):
    async def work(
        self,
        kind: WorkKind,
        source: str,
        *,
        partitions: Sequence[int],
        due_until_ms: int,
        work_max: int,
        per_channel_max: int | None = None,
        excluded_channels: Collection[str] = (),
        after: Work | None = None,
    ) -> list[Work]:
        """At most one per conversation and none of `excluded_channels`; "send" soonest due first.

        `after`: the next page of "send", behind the last one of the page before.

        "send" returns at most `per_channel_max` of one channel, so that the backlog of a throttled channel neither
        hides other channels nor is read.

        "send" is the conversation's oldest message that is sending, or pending and due, unless an older one is pending
        or sending: order within a conversation holds across retries, and unknown and failed messages do not block.
        A sending message is due at once.
        """
        ...


class ConversationReader(Protocol):
    async def accepted(self, conversation_id: str, fact_id: str) -> bool:
        """Whether the fold accepted a fact whose id it stores."""
        ...

    async def conversation(self, conversation_id: str) -> ConversationView | None: ...
    async def conversations(
        self, *, filters: str | None, cursor: str | None, page_size: int | None
    ) -> Page[ConversationView]:
        """By the arrival of the newest message, latest first. Bad filters or cursor raise `Refused` with its field."""
        ...

    async def message(self, message_id: str) -> Message | None: ...
    async def messages(self, conversation_id: str, *, cursor: str | None, page_size: int | None) -> Page[Message]:
        """Newest first by sequence; deleted ones are left out."""
        ...


class FoldedMessageReader(Protocol):
    async def folded_messages(self, message_ids: Collection[str]) -> list[FoldedMessage]:
        """An id may name one message in each of several conversations. Unknown ids are left out."""
        ...

    async def named_by_provider(self, provider_id: str) -> list[str]:
        """The ids of messages with this provider id, of any conversation, at most `NAMED_MAX`: those whose id does not
        derive from it (`ids.message_id`), and perhaps others that have had it.
        """
        ...


class ChannelActivity(Struct, frozen=True):
    """When the newest messages of a channel were sent, queued and deleted ones included; None: there is none."""

    last_inbound_ms: int | None = None
    last_outbound_ms: int | None = None


class ChannelActivityReader(Protocol):
    async def channel_activity(self, channel_ids: Collection[str]) -> dict[str, ChannelActivity]:
        """Of each of these channels."""
        ...


class EntityReader(Protocol):
    async def channels(self, *, source: str | None = None, connected_only: bool = True) -> list[Channel]: ...
    async def channel(self, channel_id: str) -> Channel | None: ...
    async def tags(self) -> list[Tag]: ...
    async def tag(self, tag_id: str) -> Tag | None: ...
    async def templates(self, source: str) -> list[Template]: ...
    async def template(self, template_id: str) -> Template | None: ...
    async def webhooks(self) -> list[Webhook]: ...
    async def webhook(self, webhook_id: str) -> Webhook | None: ...
    async def api_tokens(self) -> list[ApiToken]: ...
    async def api_token(self, token_id: str) -> ApiToken | None: ...
    async def custom_sources(self) -> list[CustomSource]: ...
    async def custom_source(self, source_id: str) -> CustomSource | None: ...
    async def entity_accepted(self, topic: Topic[Any], entity_id: str, write_id: str) -> bool:
        """Whether the fold accepted a write with a base; `write_id` is the header `id` of its record."""
        ...


class IdentityReader(Protocol):
    async def conversations_of(self, keys: Collection[IdentityKey]) -> dict[IdentityKey, tuple[str, ...]]:
        """The ids of the conversations that these names belong to: first the one whose id derives from the name, if it
        has a message, then those that have it as an alias, the oldest first. Names without a conversation are left out.
        """
        ...


class UserReader(Protocol):
    async def users(self, *, cursor: str | None, page_size: int | None) -> Page[User]:
        """By id. A cursor is the id of the first user of a page; that user need not exist."""
        ...

    async def user(self, user_id: str) -> User | None: ...
    async def entity_accepted(self, topic: Topic[Any], entity_id: str, write_id: str) -> bool: ...


class ContactReader(Protocol):
    async def contact(self, contact_id: str) -> ContactView | None: ...
    async def contact_of(self, conversation_id: str) -> ContactView | None:
        """The contact that a conversation belongs to; none if it was deleted, or has no message."""
        ...

    async def contact_version(self, contact_id: str) -> int:
        """Of the latest write, a deletion included; 0: there was none. `ContactView.version`, also without a view."""
        ...

    async def contacts(self, *, cursor: str | None, page_size: int | None) -> Page[ContactView]:
        """By name in code-point order, without a name last. A bad cursor raises `Refused`."""
        ...


class DeadDeliveryReader(Protocol):
    async def dead_deliveries(
        self, *, webhook_id: str | None = None, cursor: str | None, page_size: int | None
    ) -> Page[DeadDelivery]:
        """Dead deliveries without a pending replay, newest first. One per delivery: its newest record.

        A bad cursor raises `Refused`.
        """
        ...

    async def dead_deliveries_of(self, delivery_id: str) -> list[DeadDelivery]:
        """All records of one delivery, newest first; the newest is its state."""
        ...

    async def pending_replays(self, *, after: tuple[int, str], replays_max: int) -> list[DeadDelivery]:
        """Dead deliveries with a replay request that is not fulfilled, after `after`, by (requested at, id)."""
        ...

    async def expired_dead_deliveries(self, *, keep_max: int, before_ms: int, deliveries_max: int) -> list[str]:
        """Ids of records past retention: older than `before_ms`, or beyond the newest `keep_max`; oldest first."""
        ...


class StoreQueries(
    ConversationReader,
    ChannelActivityReader,
    FoldedMessageReader,
    ContactReader,
    EntityReader,
    IdentityReader,
    UserReader,
    DeadDeliveryReader,
    Protocol,
):
    """What the API reads."""


class ConnectorStore(WorkReader, ConversationReader, EntityReader, Protocol):
    """What a connector reads."""


class Checkpoints(Protocol):
    """Capability of an engine whose write-ahead log has to be copied into its database."""

    @property
    def wal_pages(self) -> int:
        """The number of pages that a checkpoint would copy."""
        ...

    async def checkpoint(self) -> None:
        """Yields while it copies."""
        ...


class Store(FoldingStore, ChangeReader, PrunableChanges, WorkReader, StoreQueries, Protocol):
    """All parts, for the process that owns the store; everything else takes the part it uses."""

    @property
    def checkpoints(self) -> Checkpoints | None:
        """None: the engine needs no checkpoints."""
        ...

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def digest(self, *, changes: bool = False) -> str:
        """A hash over the whole read model, independent of batch sizes and partition interleaving.

        Comparable within one engine.

        With `changes`, also over the ids and bodies of changes that were not pruned.
        """
        ...

    async def counts(self) -> dict[str, int]:
        """For metrics and status: conversations, messages, contacts, channels, changes, send_pending,
        send_unknown, dead_deliveries.
        """
        ...
