"""Publishing with an answer: a write returns once the process's own store holds its effect (G6).

The log arbitrates (design: concurrency is decided by log order), so there is nothing to lock: publish, wait
for the fold to pass the position, and look at what became of it.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from airy import topics, trace
from airy.actors.commands.outcome import Unconfirmed
from airy.bus.api import Bus
from airy.bus.record import Emit, Position, TopicPartition
from airy.bus.topic import Topic
from airy.clock import Clock, Ids
from airy.model import ids
from airy.model.conversation import Conversation, Message
from airy.model.fact import Fact, FactBase

T = TypeVar("T")
F = TypeVar("F", bound=FactBase)

Reached = Callable[[Position, float], Awaitable[bool]]
"""Whether the process's own store holds the effect of the record at a position, waiting up to so many
seconds.
"""


class Cause(Struct, frozen=True, kw_only=True):
    """Who asks, in which request, and under which key a repetition would come."""

    caller: str
    request_id: str
    key: str | None = None


class Done(Struct, Generic[T], frozen=True):
    """What a write came to, and from which position on every reader sees it."""

    value: T
    position: Position


class Writer:
    def __init__(self, bus: Bus, reached: Reached, clock: Clock, ids: Ids, *, within_s: float = 5.0) -> None:
        self._bus = bus
        self._reached = reached
        self._clock = clock
        self._ids = ids
        self._within_s = within_s

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def new_id(self) -> str:
        return self._ids.new()

    def id_for(self, cause: Cause, *scope: str) -> str:
        """The same id for every repetition under one key by one caller; a fresh one without a key."""
        return self._ids.new() if cause.key is None else ids.derive("|".join((*scope, cause.caller, cause.key)))

    async def write(self, emits: Sequence[Emit]) -> Position:
        """The position of the last. Raises `Unavailable` when nothing may have been written, `Unconfirmed` when
        everything was.
        """
        return (await self.write_all(emits))[-1]

    async def write_all(self, emits: Sequence[Emit]) -> Sequence[Position]:
        traced = trace.headers()
        if traced:
            emits = [replace(emit, headers=(*emit.headers, *traced)) for emit in emits]
        positions = await self._bus.publish(emits)
        for position in positions:
            if not await self._reached(position, self._within_s):
                raise Unconfirmed(position, self._within_s)
        return positions

    async def ends(self) -> dict[TopicPartition, int]:
        """Where the next records of everything that tells subscribers of changes will be."""
        return await self._bus.ends(topics.TOLD)

    async def put(self, topic: Topic[Any], entity_id: str, entity: object | None) -> Position:
        """The latest record of an entity; None deletes it. Its id tells two writes of one millisecond apart."""
        return await self.write([topic.emit(entity_id, entity, headers=(("id", self._ids.new().encode()),))])

    def later_than(self, at_ms: int) -> int:
        """The time of a write that comes after one at `at_ms`, whatever the clock says: it numbers the change."""
        return max(self.now_ms(), at_ms + 1)

    async def tell(self, fact: Fact) -> Position:
        headers = (("id", fact.id.encode()), ("request-id", fact.cause.encode()))
        return await self.write([topics.EVENTS.emit(fact.conversation_id, fact, headers=headers)])

    def fact(
        self,
        kind: type[F],
        known: Conversation | Message,
        cause: Cause,
        /,
        *,
        fact_id: str | None = None,
        **fields: Any,
    ) -> F:
        """A fact about a conversation we know, or about that of a message."""
        about: dict[str, Any] = {
            "id": fact_id or self._ids.new(),
            "conversation_id": known.conversation_id if isinstance(known, Message) else known.id,
            "channel_id": known.channel_id,
            "source": known.source,
            "at_ms": self.now_ms(),
            "cause": cause.request_id,
        }
        return kind(**about, **fields)
