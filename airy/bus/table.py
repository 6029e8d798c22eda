"""A topic caught up in memory: the latest value of each key. A cache of the log, never the truth."""

from collections.abc import Callable, ItemsView, Mapping
from typing import Generic, TypeVar

import anyio

from airy.bus.api import Bus, Pulse, Truncated
from airy.bus.idle import idling
from airy.bus.record import Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Undecodable

V = TypeVar("V")


class Table(Generic[V]):
    """May be read at any time, by anybody, also across restarts of `run`.

    A listener gets key and value (None: deleted) in the order of the log, before `caught_up_to` returns. A value
    nobody can read leaves the last one that could be in place, and a reason in `unreadable`.
    """

    def __init__(
        self,
        topic: Topic[V],
        *,
        listener: Callable[[str, V | None], None] | None = None,
        records_max: int = 1_000,
        bytes_max: int = 4_194_304,
        idle_s: float = 5.0,
    ) -> None:
        self._topic = topic
        self._listener = listener
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._idle_s = idle_s
        self._values: dict[str, V] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._moved = anyio.Event()
        self.unreadable: dict[str, str] = {}

    def get(self, key: str) -> V | None:
        return self._values.get(key)

    def items(self) -> ItemsView[str, V]:
        return self._values.items()

    def __len__(self) -> int:
        return len(self._values)

    async def run(self, bus: Bus, pulse: Pulse) -> None:
        """Until draining. Ready once everything is read that was there at the start."""
        topics = [self._topic]
        starts, behind = await bus.starts(topics), await bus.ends(topics)
        self._advance({where: self._positions.get(where, start) for where, start in starts.items()})
        async with bus.tail(self._positions) as tail, idling(pulse) as idle:
            while not pulse.draining.is_set():
                if behind and self._has(behind):
                    pulse.ready()
                    behind = {}
                try:
                    records = await idle.fetch(
                        tail, records_max=self._records_max, bytes_max=self._bytes_max, wait_s=self._idle_s
                    )
                except Truncated:  # deletions may be among what is gone: only a new start is right
                    self._forget()
                    raise
                for record in records:
                    self._apply(record)
                self._advance({where: tail.position(where) for where in self._positions})
                pulse.progress()

    async def caught_up_to(self, ends: Mapping[TopicPartition, int]) -> None:
        """Wait until everything below these offsets is applied; partitions of other topics do not count."""
        mine = {where: end for where, end in ends.items() if where.topic == self._topic.name}
        while not self._has(mine):
            await self._moved.wait()

    def _has(self, ends: Mapping[TopicPartition, int]) -> bool:
        return all(self._positions.get(where, -1) >= end for where, end in ends.items())

    def _apply(self, record: Record) -> None:
        key = record.key.decode("utf-8", "replace")
        try:
            value = self._topic.decode(record)
        except Undecodable as error:
            self.unreadable[key] = str(error)
            return
        self.unreadable.pop(key, None)
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value
        if self._listener is not None:
            self._listener(key, value)

    def _advance(self, positions: dict[TopicPartition, int]) -> None:
        if positions != self._positions:
            self._positions = positions
            self._moved.set()
            self._moved = anyio.Event()

    def _forget(self) -> None:
        if self._listener is not None:
            for key in self._values:
                self._listener(key, None)
        self._values.clear()
        self._positions.clear()
        self.unreadable.clear()
