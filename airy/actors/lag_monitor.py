"""Measures this process's lag: of its consumer groups, of its fold (offsets and age), and of the event loop.

An actor, because the numbers need queries to the log that may be slow or fail: probes and scrapes read the latest
measurement and never wait for a broker. Counters are read elsewhere (`airy.app.metrics_source`).
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from airy import topics
from airy.actors.fold_progress import FoldProgress
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic
from airy.errors import Unavailable

TICK_S = 1.0
REFRESH_S = 5.0
LOOP_DELAYS_MAX = 60  # ticks; `loop_delay_s` is the worst of them
SAMPLES_MAX = 64

Groups = Mapping[str, Sequence[Topic[Any]]]
"""Consumer groups that commit offsets, with their topics (`acls.committing_groups`)."""


class EndOffsetHistory:
    """End offsets of the log over time: gives the age of what is not folded without reading record timestamps.

    Holds at most `SAMPLES_MAX` samples; above that every second one is dropped, which makes ages coarser, not wrong.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Mapping[TopicPartition, int]]] = deque()

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, now: float, ends: Mapping[TopicPartition, int]) -> None:
        self._samples.append((now, dict(ends)))
        if len(self._samples) > SAMPLES_MAX:
            newest = self._samples[-1]
            self._samples = deque([*list(self._samples)[:-1:2], newest])

    def age_s(self, now: float, positions: Mapping[TopicPartition, int]) -> float:
        """Time since the oldest record above `positions` was first seen; 0 if everything is folded."""
        while self._samples and _reached(self._samples[0][1], positions):
            self._samples.popleft()
        return now - self._samples[0][0] if self._samples else 0.0


def _reached(ends: Mapping[TopicPartition, int], positions: Mapping[TopicPartition, int]) -> bool:
    return all(positions.get(tp, 0) >= end for tp, end in ends.items())


class LagMonitor:
    """Keeps its measurements across restarts of `run`."""

    def __init__(self, bus: Bus, progress: FoldProgress) -> None:
        self._bus = bus
        self._progress = progress
        self._history = EndOffsetHistory()
        self._group_histories: dict[str, EndOffsetHistory] = {}
        self._committed: dict[str, Mapping[TopicPartition, int]] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._loop_delays: deque[float] = deque(maxlen=LOOP_DELAYS_MAX)
        self._measured_at: float | None = None
        self.lags: Mapping[tuple[str, ...], int] = {}  # offsets to commit, by group and topic; gaps count
        self.failures = 0  # failed queries to the log

    async def run(self, ctx: Context, groups: Groups) -> None:
        ctx.ready()
        refresh_at = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._measure_loop_delay)
            while not ctx.draining.is_set():
                with ctx.waiting():
                    await self.refresh(groups)
                    refresh_at += REFRESH_S
                    with anyio.CancelScope(deadline=refresh_at):
                        await ctx.draining.wait()
                refresh_at = max(refresh_at, anyio.current_time())
            tasks.cancel_scope.cancel()

    async def refresh(self, groups: Groups) -> None:
        """Query the log; the bus bounds each query in time. A failure keeps the previous measurement."""
        queried = [*topics.FOLDED, *(topic for read in groups.values() for topic in read)]
        try:
            ends = await self._bus.end_offsets(list({topic.name: topic for topic in queried}.values()))
            self.lags = {
                (group, topic.name): lag
                for group, read in groups.items()
                for topic, lag in (await self._group_lags(group, read, ends)).items()
            }
        except Unavailable:
            self.failures += 1
            return
        self._measured_at = anyio.current_time()
        for group, read in groups.items():
            names = {topic.name for topic in read}
            history = self._group_histories.setdefault(group, EndOffsetHistory())
            history.add(self._measured_at, {tp: end for tp, end in ends.items() if tp.topic in names})
        self._ends = {tp: end for tp, end in ends.items() if tp.topic in _FOLDED}
        self._history.add(self._measured_at, self._ends)

    # --- the latest measurement; no call waits

    @property
    def fold_lag(self) -> int:
        """Offsets the store has yet to fold; gaps count."""
        positions = self._progress.positions()
        return sum(max(0, end - positions.get(tp, 0)) for tp, end in self._ends.items())

    @property
    def fold_age_s(self) -> float:
        return self._history.age_s(anyio.current_time(), self._progress.positions())

    def group_ages_s(self) -> Mapping[str, float]:
        """Per consumer group, the age of the oldest record it has not committed."""
        now = anyio.current_time()
        return {
            group: history.age_s(now, self._committed.get(group, {}))
            for group, history in self._group_histories.items()
        }

    @property
    def measurement_age_s(self) -> float | None:
        """None before the first successful query."""
        return None if self._measured_at is None else anyio.current_time() - self._measured_at

    @property
    def loop_delay_s(self) -> float:
        """The longest delay of the event loop within the last minute."""
        return max(self._loop_delays, default=0.0)

    # --- measuring

    async def _group_lags(
        self, group: str, read: Sequence[Topic[Any]], ends: Mapping[TopicPartition, int]
    ) -> dict[Topic[Any], int]:
        committed = await self._bus.committed(group, read)
        if any(tp not in committed for topic in read for tp in topic.topic_partitions):
            committed = {**await self._bus.beginning_offsets(read), **committed}
        self._committed[group] = committed
        return {topic: sum(max(0, ends[tp] - committed[tp]) for tp in topic.topic_partitions) for topic in read}

    async def _measure_loop_delay(self) -> None:
        """A sleep overruns by as long as something blocked the loop."""
        while True:
            before = anyio.current_time()
            await anyio.sleep(TICK_S)
            self._loop_delays.append(max(0.0, anyio.current_time() - before - TICK_S))


class LagMonitorActor:
    """Runs a monitor for the groups of this process."""

    def __init__(self, monitor: LagMonitor, groups: Groups) -> None:
        self._monitor = monitor
        self._groups = groups

    async def run(self, ctx: Context) -> None:
        await self._monitor.run(ctx, self._groups)


_FOLDED = frozenset(topic.name for topic in topics.FOLDED)
