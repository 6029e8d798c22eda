"""A compacted topic held in memory: the latest value of each key. A cache of the log, never the truth."""

from collections.abc import Callable, ItemsView, Mapping
from typing import Generic, TypeVar

from airy.bus.api import Bus, OffsetOutOfRange
from airy.bus.draining_fetch import draining_fetch
from airy.bus.record import Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Undecodable
from airy.lifecycle import Lifecycle

V = TypeVar("V")


class Table(Generic[V]):
    """May be read at any time, also across restarts of `run`.

    A listener gets key and value (None: deleted) in log order. A value that cannot be decoded leaves the previous value
    in place, and a reason in `undecodable`.
    """

    def __init__(
        self,
        topic: Topic[V],
        *,
        listener: Callable[[str, V | None], None] | None = None,
        records_max: int = 1_000,
        bytes_max: int = 4_194_304,
        fetch_wait_s: float = 5.0,
    ) -> None:
        self._topic = topic
        self._listener = listener
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._fetch_wait_s = fetch_wait_s
        self._values: dict[str, V] = {}
        self._positions: dict[TopicPartition, int] = {}
        self.undecodable: dict[str, str] = {}

    def get(self, key: str) -> V | None:
        return self._values.get(key)

    def items(self) -> ItemsView[str, V]:
        return self._values.items()

    def __len__(self) -> int:
        return len(self._values)

    async def run(self, bus: Bus, lifecycle: Lifecycle) -> None:
        """Runs until draining. Ready once it has read up to the end offsets it found at the start."""
        topics = [self._topic]
        starts, behind = await bus.beginning_offsets(topics), await bus.end_offsets(topics)
        self._positions = {tp: self._positions.get(tp, start) for tp, start in starts.items()}
        async with bus.tail(self._positions) as tail, draining_fetch(lifecycle) as fetcher:
            while not lifecycle.draining.is_set():
                if behind and self.has_applied(behind):
                    lifecycle.ready()
                    behind = {}
                try:
                    records = await fetcher.fetch(
                        tail, records_max=self._records_max, bytes_max=self._bytes_max, wait_s=self._fetch_wait_s
                    )
                except OffsetOutOfRange:  # tombstones may be among the lost records: start from nothing
                    self._clear()
                    raise
                for record in records:
                    self._apply(record)
                self._positions = {tp: tail.position(tp) for tp in self._positions}
                lifecycle.progress()

    def has_applied(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether every record below these offsets is in the table."""
        return all(self._positions.get(tp, -1) >= end for tp, end in ends.items())

    def _apply(self, record: Record) -> None:
        key = record.key.decode("utf-8", "replace")
        try:
            value = self._topic.decode(record)
        except Undecodable as error:
            self.undecodable[key] = str(error)
            return
        self.undecodable.pop(key, None)
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value
        if self._listener is not None:
            self._listener(key, value)

    def _clear(self) -> None:
        if self._listener is not None:
            for key in self._values:
                self._listener(key, None)
        self._values.clear()
        self._positions.clear()
        self.undecodable.clear()
