"""Who is there: what every process said of itself last, heard from the log, and who has been silent for too long.

Kept by the processes with the API. What was heard counts from when it was heard, not from what a clock elsewhere said
then. Silence is judged at each look, so nothing has to happen for it to show. Not here: what is said
(`airy.app.presence`).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager

import anyio
from msgspec import Struct

from airy import topics
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.bus.table import Table
from airy.bus.worker import task_group
from airy.clock import Clock
from airy.errors import Unavailable
from airy.http.ports import Fleet, Known, Share
from airy.model.process import SHARED, ProcessStatus

SILENT_BEATS = 3
FORGET_S = 600.0  # a process that was silent for so long is struck off
SWEEP_S = 30.0
RETRY_S = 1.0
SHOWN_MAX = 1_000


class Heard(Struct, frozen=True):
    """What a process said last, and when that was on the clock of this event loop."""

    status: ProcessStatus
    at: float


def heard(status: ProcessStatus, *, now: float, now_ms: int, live: bool) -> Heard:
    """What was in the log before we listened is as old as it says: no other clock knows."""
    return Heard(status, now if live else now - max(0, now_ms - status.at_ms) / 1000)


def silent(who: Heard, now: float) -> bool:
    return (now - who.at) * 1000 >= SILENT_BEATS * max(1, who.status.beat_ms)


def forgotten(everybody: Iterable[Heard], now: float) -> list[str]:
    """Who is struck off. Nobody while nobody speaks: then it is us who cannot hear."""
    known = list(everybody)
    if all(silent(who, now) for who in known):
        return []
    return [who.status.instance for who in known if silent(who, now) and now - who.at >= FORGET_S]


def fleet(everybody: Iterable[Heard], now: float, expected: Collection[str]) -> Fleet:
    """Everybody by name, and what becomes of each component: those that are `expected` and those that are there."""
    known = sorted(everybody, key=lambda who: who.status.instance)
    processes = [Known(who.status, max(0.0, now - who.at), silent(who, now)) for who in known[:SHOWN_MAX]]
    run, ready = Counter[str](), Counter[str]()
    for who in known:
        components = who.status.components
        counts = not silent(who, now) and all(each.ready for name, each in components.items() if name == SHARED)
        for name, component in components.items():
            run[name] += 1
            ready[name] += component.ready and counts
    names = sorted({*expected, *run} - {SHARED})
    return Fleet(processes, {name: Share(run[name], ready[name]) for name in names})


class Roll:
    """Outlives its `run`: what was heard stays until something newer is."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._table: Table[ProcessStatus] = Table(topics.COMPONENTS, listener=self._hears)
        self._heard: dict[str, Heard] = {}
        self._live = False

    async def run(self, ctx: Context) -> None:
        """Until draining. A log that is away is waited for: what is known gets old meanwhile, and says so."""
        ctx.ready()
        async with task_group() as tasks:
            tasks.start_soon(self._sweep, ctx)
            while not ctx.draining.is_set():
                try:
                    await self._table.run(self._bus, _Listening(ctx, self._caught_up))
                except Unavailable:
                    with ctx.waiting(), anyio.move_on_after(RETRY_S):
                        await ctx.draining.wait()
            tasks.cancel_scope.cancel()

    def fleet(self, expected: Collection[str]) -> Fleet:
        return fleet(self._heard.values(), anyio.current_time(), expected)

    def _hears(self, instance: str, status: ProcessStatus | None) -> None:
        if status is None:
            self._heard.pop(instance, None)
        else:
            now, now_ms = anyio.current_time(), self._clock.now_ms()
            self._heard[instance] = heard(status, now=now, now_ms=now_ms, live=self._live)

    def _caught_up(self) -> None:
        self._live = True

    async def _sweep(self, ctx: Context) -> None:
        """Another API may do the same at the same time, and who was struck off and speaks again is there again."""
        while True:
            with ctx.waiting():
                await anyio.sleep(SWEEP_S)
                gone = forgotten(self._heard.values(), anyio.current_time())
                try:
                    await self._bus.publish([topics.COMPONENTS.emit(instance, None) for instance in gone])
                except Unavailable:
                    continue  # the next round says it again


class _Listening:
    """What a table needs from an actor, whose readiness does not depend on it."""

    def __init__(self, ctx: Context, caught_up: Callable[[], None]) -> None:
        self._ctx = ctx
        self.ready = caught_up
        self.draining = ctx.draining
        self.progress = ctx.progress

    def waiting(self) -> AbstractContextManager[None]:
        return self._ctx.waiting()
