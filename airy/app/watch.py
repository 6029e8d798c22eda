"""How far behind this process is: what its groups have yet to read, how old the oldest record its store lacks is, and
how late the event loop is.

An actor, because these numbers need questions to the log that may take long or get no answer: probes and scrapes read
what was learned last, and never wait for a broker. Not here: what counts itself (see `airy.app.samples`).
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import anyio

from airy import topics
from airy.actors.follower import Follower
from airy.actors.runtime import Context
from airy.actors.webhooks import publisher
from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic
from airy.errors import Unavailable

TICK_S = 1.0
REFRESH_S = 5.0
DELAYS_MAX = 60  # ticks the worst delay is kept for
MARKS_MAX = 64

Groups = Mapping[str, Sequence[Topic[Any]]]


def groups(running: Collection[str]) -> Groups:
    """Consumer groups of these components that commit what they have read; a connector's commits nothing."""
    found: dict[str, Sequence[Topic[Any]]] = {}
    for source in topics.SOURCES:
        if f"sources-{source}" in running:
            found[f"sources.{source}.router"] = (topics.source_events(source),)
            found[f"sources.{source}.unpark"] = (topics.CHANNELS,)
    if "webhook-publisher" in running:
        found[publisher.GROUP] = publisher.TOPICS
    return found


class Marks:
    """When the log was how long: so the age of what is not folded is known without its timestamps.

    At most `MARKS_MAX`; when there are more, every second one goes, and ages get coarser instead of wrong.
    """

    def __init__(self) -> None:
        self._marks: deque[tuple[float, Mapping[TopicPartition, int]]] = deque()

    def __len__(self) -> int:
        return len(self._marks)

    def add(self, now: float, ends: Mapping[TopicPartition, int]) -> None:
        self._marks.append((now, dict(ends)))
        if len(self._marks) > MARKS_MAX:
            newest = self._marks[-1]
            self._marks = deque([*list(self._marks)[:-1:2], newest])

    def age_s(self, now: float, positions: Mapping[TopicPartition, int]) -> float:
        """How long ago the oldest record that is not folded was there already; 0 if everything is folded."""
        while self._marks and _passed(self._marks[0][1], positions):
            self._marks.popleft()
        return now - self._marks[0][0] if self._marks else 0.0


def _passed(ends: Mapping[TopicPartition, int], positions: Mapping[TopicPartition, int]) -> bool:
    return all(positions.get(where, 0) >= end for where, end in ends.items())


class Watch:
    """Outlives its `run`: what was learned stays until something newer is."""

    def __init__(self, bus: Bus, follower: Follower) -> None:
        self._bus = bus
        self._follower = follower
        self._marks = Marks()
        self._ends: dict[TopicPartition, int] = {}
        self._delays: deque[float] = deque(maxlen=DELAYS_MAX)
        self._learned_at: float | None = None
        self.lags: Mapping[tuple[str, ...], int] = {}  # offsets to commit, by group and topic; gaps count
        self.failures = 0  # questions to the log without an answer

    async def run(self, ctx: Context, of: Groups) -> None:
        ctx.ready()
        refresh_at = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._feel)
            while not ctx.draining.is_set():
                with ctx.waiting():
                    await self.refresh(of)
                    refresh_at += REFRESH_S
                    with anyio.CancelScope(deadline=refresh_at):
                        await ctx.draining.wait()
                refresh_at = max(refresh_at, anyio.current_time())
            tasks.cancel_scope.cancel()

    async def refresh(self, of: Groups) -> None:
        """Ask the log; each question has its own deadline in the bus."""
        try:
            ends = await self._bus.ends(list({topic.name: topic for topic in self._asked(of)}.values()))
            self.lags = {
                (group, topic.name): lag
                for group, read in of.items()
                for topic, lag in (await self._lags(group, read, ends)).items()
            }
        except Unavailable:
            self.failures += 1
            return
        self._learned_at = anyio.current_time()
        self._ends = {where: end for where, end in ends.items() if where.topic in _FOLDED}
        self._marks.add(self._learned_at, self._ends)

    # --- what is known; none of these waits

    @property
    def fold_lag(self) -> int:
        """Offsets the store lacks; gaps count."""
        done = self._follower.positions()
        return sum(max(0, end - done.get(where, 0)) for where, end in self._ends.items())

    @property
    def fold_age_s(self) -> float:
        return self._marks.age_s(anyio.current_time(), self._follower.positions())

    @property
    def reading_age_s(self) -> float | None:
        """How old these numbers are; None: nothing was ever learned."""
        return None if self._learned_at is None else anyio.current_time() - self._learned_at

    @property
    def loop_delay_s(self) -> float:
        """The worst of the last minute."""
        return max(self._delays, default=0.0)

    # --- learning

    @staticmethod
    def _asked(of: Groups) -> list[Topic[Any]]:
        return [*topics.FOLDED, *(topic for read in of.values() for topic in read)]

    async def _lags(
        self, group: str, read: Sequence[Topic[Any]], ends: Mapping[TopicPartition, int]
    ) -> dict[Topic[Any], int]:
        done = await self._bus.committed(group, read)
        if any(where not in done for topic in read for where in topic.where):
            done = {**await self._bus.starts(read), **done}
        return {topic: sum(max(0, ends[where] - done[where]) for where in topic.where) for topic in read}

    async def _feel(self) -> None:
        """A sleep that takes longer than it should was kept waiting by whatever held the loop."""
        while True:
            before = anyio.current_time()
            await anyio.sleep(TICK_S)
            self._delays.append(max(0.0, anyio.current_time() - before - TICK_S))


class Watching:
    """The watch as an actor of a tree."""

    def __init__(self, watch: Watch, of: Groups) -> None:
        self._watch = watch
        self._of = of

    async def run(self, ctx: Context) -> None:
        await self._watch.run(ctx, self._of)


_FOLDED = frozenset(topic.name for topic in topics.FOLDED)
