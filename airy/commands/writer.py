"""Appends to the log and waits until the own store has folded the write (G6).

The log decides between concurrent writes, so nothing is locked: publish, wait for the position, read the outcome.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from airy import topics, trace
from airy.bus.api import Bus
from airy.bus.record import Position, ProducerRecord, TopicPartition
from airy.bus.record_schema import Hold, PartitionHeld
from airy.bus.topic import Topic
from airy.clock import Clock, Ids
from airy.commands.errors import WriteUnconfirmed
from airy.model import ids
from airy.model.conversation import Conversation, Message
from airy.model.fact import Fact, FactBase
from airy.model.fold_entity import BASE_HEADER

T = TypeVar("T")
F = TypeVar("F", bound=FactBase)

WaitForPosition = Callable[[Position, float], Awaitable[bool]]
"""Waits up to so many seconds until the own store has folded a position; whether it has."""


class RequestContext(Struct, frozen=True, kw_only=True):
    """The caller, the request id and the idempotency key of a request."""

    caller: str
    request_id: str
    key: str | None = None


class Written(Struct, Generic[T], frozen=True):
    """The result of a write, and the position from which every reader sees it."""

    value: T
    position: Position


class Writer:
    """`held`: partitions whose writes could not be read back, see `airy.bus.record_schema`."""

    def __init__(
        self,
        bus: Bus,
        wait_for_position: WaitForPosition,
        clock: Clock,
        ids: Ids,
        *,
        within_s: float = 5.0,
        held: Mapping[TopicPartition, Hold] = {},
    ) -> None:
        self._held = held
        self._bus = bus
        self._wait_for_position = wait_for_position
        self._clock = clock
        self._ids = ids
        self._within_s = within_s

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def new_id(self) -> str:
        return self._ids.new()

    def random_bytes(self, count: int) -> bytes:
        """For a secret."""
        return self._ids.random_bytes(count)

    def id_for(self, context: RequestContext, *scope: str) -> str:
        """The same id for repetitions with one idempotency key by one caller; a new id without a key."""
        return self._ids.new() if context.key is None else ids.derive("|".join((*scope, context.caller, context.key)))

    async def write(self, records: Sequence[ProducerRecord]) -> Position:
        """The position of the last record. Raises `PartitionHeld` if nothing was written, `Unavailable` if it may have
        been, `WriteUnconfirmed` if everything was.
        """
        return (await self.write_all(records))[-1]

    async def write_all(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        for record in records:
            hold = self._held.get(TopicPartition(record.topic, record.partition)) if self._held else None
            if hold is not None:
                raise PartitionHeld(hold)
        traced = trace.headers()
        if traced:
            records = [replace(record, headers=(*record.headers, *traced)) for record in records]
        positions = await self._bus.publish(records)
        for position in positions:
            if not await self._wait_for_position(position, self._within_s):
                raise WriteUnconfirmed(position, self._within_s)
        return positions

    async def publish(self, records: Sequence[ProducerRecord]) -> None:
        """Append records that no store folds."""
        await self._bus.publish(records)

    async def end_offsets(self) -> dict[TopicPartition, int]:
        """Where the next records of everything that tells subscribers of changes will be."""
        return await self._bus.end_offsets(topics.CHANGE_TOPICS)

    async def append_entity(
        self, topic: Topic[Any], entity_id: str, entity: object | None, *, base: int, write_id: str
    ) -> Position:
        """Append a write of an entity made on version `base`; None deletes it. The fold may reject it: see
        `EntityWriter`.
        """
        headers = (("id", write_id.encode()), (BASE_HEADER, b"%d" % base))
        return await self.write([topic.record(entity_id, entity, headers=headers)])

    def next_timestamp(self, at_ms: int) -> int:
        """A time after `at_ms`, whatever the clock says: the time of an entity is its version."""
        return max(self.now_ms(), at_ms + 1)

    async def append_fact(self, fact: Fact) -> Position:
        headers = (("id", fact.id.encode()), ("request-id", fact.cause.encode()))
        return await self.write([topics.EVENTS.record(fact.conversation_id, fact, headers=headers)])

    async def append_all(self, facts: Sequence[Fact]) -> Sequence[Position]:
        """The last position of each partition. Raises as `write`."""
        positions = await self.write_all(
            [topics.EVENTS.record(fact.conversation_id, fact, headers=(("id", fact.id.encode()),)) for fact in facts]
        )
        return tuple({position.partition: position for position in positions}.values())

    async def append_facts(self, facts: Sequence[Fact]) -> Position:
        """The position of the last one. Raises as `write`."""
        return (await self.append_all(facts))[-1]

    def fact(
        self,
        kind: type[F],
        known: Conversation | Message,
        context: RequestContext,
        /,
        *,
        fact_id: str | None = None,
        **fields: Any,
    ) -> F:
        """A fact about a known conversation, or about the conversation of a message."""
        about: dict[str, Any] = {
            "id": fact_id or self._ids.new(),
            "conversation_id": known.conversation_id if isinstance(known, Message) else known.id,
            "channel_id": known.channel_id,
            "source": known.source,
            "at_ms": self.now_ms(),
            "cause": context.request_id,
        }
        return kind(**about, **fields)
