"""Registry of all processes of the installation, built from their heartbeats in the log; finds the stale ones.

Runs in processes with the API. The age of a heartbeat counts from its arrival here, not from the sender's clock.
Staleness is computed at every read, so it needs no event. Heartbeats are published by `airy.actors.heartbeat`.
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
from airy.clock import Clock
from airy.errors import Unavailable
from airy.model.fleet import ComponentCount, FleetStatus, ProcessInfo
from airy.model.process_status import SHARED, ProcessStatus
from airy.task_group import task_group

STALE_AFTER_HEARTBEATS = 3
EXPIRE_S = 600.0  # a process that has been stale for so long is removed
SWEEP_S = 30.0
RETRY_S = 1.0
SHOWN_MAX = 1_000


class LastSeen(Struct, frozen=True):
    """The last heartbeat of a process, and its arrival on the clock of this event loop."""

    status: ProcessStatus
    at: float


def last_seen(status: ProcessStatus, *, now: float, now_ms: int, live: bool) -> LastSeen:
    """A heartbeat from before this reader caught up is aged by its own timestamp: no better clock is known."""
    return LastSeen(status, now if live else now - max(0, now_ms - status.at_ms) / 1000)


def is_stale(seen: LastSeen, now: float) -> bool:
    return (now - seen.at) * 1000 >= STALE_AFTER_HEARTBEATS * max(1, seen.status.heartbeat_interval_ms)


def expired(processes: Iterable[LastSeen], now: float) -> list[str]:
    """Instances to remove. None if every instance is stale, because then our own consumer is probably down."""
    known = list(processes)
    if all(is_stale(seen, now) for seen in known):
        return []
    return [seen.status.instance for seen in known if is_stale(seen, now) and now - seen.at >= EXPIRE_S]


def fleet_status(processes: Iterable[LastSeen], now: float, expected: Collection[str]) -> FleetStatus:
    """Processes by name, and counts for each component that is `expected` or reported."""
    known = sorted(processes, key=lambda seen: seen.status.instance)
    infos = [ProcessInfo(seen.status, max(0.0, now - seen.at), is_stale(seen, now)) for seen in known[:SHOWN_MAX]]
    run, ready = Counter[str](), Counter[str]()
    for seen in known:
        components = seen.status.components
        counts = not is_stale(seen, now) and all(each.ready for name, each in components.items() if name == SHARED)
        for name, component in components.items():
            run[name] += 1
            ready[name] += component.ready and counts
    names = sorted({*expected, *run} - {SHARED})
    return FleetStatus(infos, {name: ComponentCount(run[name], ready[name]) for name in names})


class ProcessRegistry:
    """Keeps its content across restarts of `run`."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._table: Table[ProcessStatus] = Table(topics.COMPONENTS, listener=self._on_heartbeat)
        self._last_seen: dict[str, LastSeen] = {}
        self._live = False

    async def run(self, ctx: Context) -> None:
        """Until draining. Retries while the log is unavailable; meanwhile the known heartbeats age and turn stale."""
        ctx.ready()
        async with task_group() as tasks:
            tasks.start_soon(self._remove_expired, ctx)
            while not ctx.draining.is_set():
                try:
                    await self._table.run(self._bus, _TableLifecycle(ctx, self._on_caught_up))
                except Unavailable:
                    with ctx.waiting(), anyio.move_on_after(RETRY_S):
                        await ctx.draining.wait()
            tasks.cancel_scope.cancel()

    def fleet(self, expected: Collection[str]) -> FleetStatus:
        return fleet_status(self._last_seen.values(), anyio.current_time(), expected)

    def _on_heartbeat(self, instance: str, status: ProcessStatus | None) -> None:
        if status is None:
            self._last_seen.pop(instance, None)
        else:
            now, now_ms = anyio.current_time(), self._clock.now_ms()
            self._last_seen[instance] = last_seen(status, now=now, now_ms=now_ms, live=self._live)

    def _on_caught_up(self) -> None:
        self._live = True

    async def _remove_expired(self, ctx: Context) -> None:
        """Several API processes may do this at once; a removed process that publishes again is listed again."""
        while True:
            with ctx.waiting():
                await anyio.sleep(SWEEP_S)
                instances = expired(self._last_seen.values(), anyio.current_time())
                try:
                    await self._bus.publish([topics.COMPONENTS.record(instance, None) for instance in instances])
                except Unavailable:
                    continue  # the next sweep retries


class _TableLifecycle:
    """The lifecycle a table needs, without tying the actor's readiness to it."""

    def __init__(self, ctx: Context, on_caught_up: Callable[[], None]) -> None:
        self._ctx = ctx
        self.ready = on_caught_up
        self.draining = ctx.draining
        self.progress = ctx.progress

    def waiting(self) -> AbstractContextManager[None]:
        return self._ctx.waiting()
