"""Writes entities on the version they were read at, and repeats a write that lost to a concurrent one.

The caller gives its intent as a function of the current entity, so that a repetition applies it to the newer one: an
update of a name keeps what a disconnect changed meanwhile.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from msgspec.structs import replace

from airy.bus.record import Position
from airy.bus.topic import Topic
from airy.commands.errors import Conflict
from airy.commands.writer import Writer, Written
from airy.model.entity import ApiToken, Channel, CustomSource, Tag, Template, User, Webhook
from airy.model.fold_entity import ABSENT

WRITES_MAX = 10

E = TypeVar("E", bound=ApiToken | Channel | CustomSource | Tag | Template | User | Webhook)


class EntityWrites(Protocol):
    """The part of the store that is used here."""

    async def entity_accepted(self, topic: Topic[Any], entity_id: str, write_id: str) -> bool: ...


class EntityWriter:
    """Raises what `read` and `intent` raise, `Conflict` after `WRITES_MAX` rejected writes, and what `Writer.write`
    raises.
    """

    def __init__(self, writer: Writer, store: EntityWrites) -> None:
        self._writer = writer
        self._store = store

    async def put(
        self,
        topic: Topic[E],
        entity_id: str,
        read: Callable[[str], Awaitable[E | None]],
        intent: Callable[[E | None], Awaitable[E]],
    ) -> Written[E]:
        """`intent` makes the entity to write from the current one; None: there is none."""
        for _ in range(WRITES_MAX):
            current = await read(entity_id)
            base = ABSENT if current is None else current.updated_at_ms
            entity = replace(await intent(current), updated_at_ms=self._writer.next_timestamp(base))
            position = await self._write(topic, entity.id, entity, base)
            if position is not None:
                return Written(entity, position)
        raise _conflict(topic)

    async def update(
        self,
        topic: Topic[E],
        entity_id: str,
        read: Callable[[str], Awaitable[E]],
        intent: Callable[[E], Awaitable[E]],
    ) -> Written[E]:
        """Like `put`, of an entity that exists; `read` raises if it does not."""

        async def changed(current: E | None) -> E:
            assert current is not None
            return await intent(current)

        return await self.put(topic, entity_id, read, changed)

    async def delete(self, topic: Topic[E], entity_id: str, read: Callable[[str], Awaitable[E]]) -> Position:
        """`read` raises if the entity does not exist."""
        for _ in range(WRITES_MAX):
            current = await read(entity_id)
            position = await self._write(topic, current.id, None, current.updated_at_ms)
            if position is not None:
                return position
        raise _conflict(topic)

    async def _write(self, topic: Topic[E], entity_id: str, entity: E | None, base: int) -> Position | None:
        """None: the write was rejected, because another one was accepted before it."""
        write_id = self._writer.new_id()
        position = await self._writer.append_entity(topic, entity_id, entity, base=base, write_id=write_id)
        return position if await self._store.entity_accepted(topic, entity_id, write_id) else None


def _conflict(topic: Topic[Any]) -> Conflict:
    kind = topic.name.rpartition(".")[2].removesuffix("s").replace("-", " ").replace("api", "API")
    return Conflict(
        f"other requests changed this {kind} each time the change was applied ({WRITES_MAX} times), and nothing was "
        "written: read it and send the request again"
    )
