"""Deletes changes from the store that neither a reader nor the resume window needs any more.

A reader needs what it has not committed. Readers of disabled components need nothing, so they do not hold changes back;
`change_delivery` decides what follows when such a reader returns. The resume window is for clients that reconnect and
continue where they were: changes are kept for some time after they were folded, up to a number of log records.
"""

from collections import deque
from collections.abc import Mapping, Sequence

import anyio
from msgspec import Struct

from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.change_readers import ReaderSpec
from airy.store.api import PrunableChanges

PERIOD_S = 5.0
SAMPLES = 64

Offsets = Mapping[TopicPartition, int]


class ResumeWindow(Struct, frozen=True, kw_only=True):
    """Changes are inside while they are younger than `age_s` and fewer than `records_max` records were folded since."""

    age_s: float = 0.0
    records_max: int = 0


class FoldHistory:
    """Positions of the fold over time: gives the age of folded records without reading their timestamps.

    Samples are `age_s / SAMPLES` apart, so changes are kept longer by at most that.
    """

    def __init__(self, window: ResumeWindow) -> None:
        self._window = window
        self._samples: deque[tuple[float, Offsets]] = deque()
        self._latest: Offsets = {}

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, now: float, positions: Offsets) -> None:
        if any(positions.get(tp, 0) < offset for tp, offset in self._latest.items()):
            self._samples.clear()  # the store was wiped: its content is new again
        self._latest = dict(positions)
        if not self._samples or now - self._samples[-1][0] >= self._window.age_s / SAMPLES:
            self._samples.append((now, self._latest))

    def floor(self, now: float) -> Offsets:
        """The offsets below which everything is outside of the window."""
        folded = sum(self._latest.values())
        outside = [
            positions
            for at, positions in self._samples
            if at <= now - self._window.age_s or folded - sum(positions.values()) >= self._window.records_max
        ]
        for _ in outside[1:]:
            self._samples.popleft()
        return outside[-1] if outside else {}


class ChangePruner:
    """`readers`: those whose committed offsets are a low-water mark."""

    def __init__(
        self,
        bus: Bus,
        store: PrunableChanges,
        readers: Sequence[ReaderSpec],
        *,
        window: ResumeWindow | None = None,
        period_s: float = PERIOD_S,
    ) -> None:
        self._bus = bus
        self._store = store
        self._readers = readers
        self._period_s = period_s
        self._history = FoldHistory(window or ResumeWindow())

    async def run(self, ctx: Context) -> None:
        ctx.ready()
        while not ctx.draining.is_set():
            with ctx.waiting(), anyio.move_on_after(self._period_s):
                await ctx.draining.wait()
            ctx.progress()
            await self._prune()

    async def _prune(self) -> None:
        now = anyio.current_time()
        self._history.add(now, await self._store.positions())
        low = dict(self._history.floor(now))
        for reader in self._readers:
            needed = await self._needed_from(reader)
            low = {tp: min(offset, needed.get(tp, offset)) for tp, offset in low.items()}
        below = {tp: offset for tp, offset in low.items() if offset > 0}
        if below:
            await self._store.prune_changes(below)

    async def _needed_from(self, reader: ReaderSpec) -> Offsets:
        """Without a commit, a reader that starts at the end needs nothing yet, and any other one everything."""
        committed = await self._bus.committed(reader.group, reader.topics)
        if reader.start == "end":
            return committed
        return {tp: committed.get(tp, 0) for topic in reader.topics for tp in topic.topic_partitions}
