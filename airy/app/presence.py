"""Says in the log how this process is: at every beat, at once when that changes, and goodbye when it stops in order.

An actor of every process, because others show and judge it: an API answers for processes nobody can reach from
outside. Nothing depends on what is said here: a log that does not take it is waited for, and never hurts the process.
Not here: who listens (`airy.app.roll`), and how the process is (`airy.app.status`).
"""

from collections.abc import Callable
from urllib.parse import urlsplit

import anyio
from msgspec import Struct

from airy import __version__, access, topics
from airy.actors.runtime import Context
from airy.app.parts import Parts
from airy.app.samples import Rebalancing
from airy.app.status import TreeStatus, resident_bytes
from airy.bus.api import Bus
from airy.config import secret_values
from airy.errors import Unavailable
from airy.log import masker
from airy.model.process import ComponentStatus, ProcessStatus

LOOK_S = 1.0
REASONS_MAX = 16
REASON_CHARS_MAX = 300

Report = Callable[[], ProcessStatus]


class Said(Struct, frozen=True):
    """What was said last, and when on the loop's clock: the wall's may be set."""

    status: ProcessStatus
    at: float


def due(said: Said | None, status: ProcessStatus, now: float) -> bool:
    """Whether `status` is to be said: it is time, or somebody would decide differently."""
    return said is None or (now - said.at) * 1000 >= status.beat_ms or _gist(said.status) != _gist(status)


def _gist(status: ProcessStatus) -> object:
    """What is news. Numbers are not, nor is the wording of a reason: those change all the time."""
    components = {name: (each.ready, each.restarts) for name, each in status.components.items()}
    return status.ready, status.url, status.version, status.caught_up, set(status.waiting_for), components


class Announcer:
    def __init__(self, bus: Bus, report: Report) -> None:
        self._bus = bus
        self._report = report

    async def run(self, ctx: Context) -> None:
        ctx.ready()
        said: Said | None = None
        while not ctx.draining.is_set():
            status, now = self._report(), anyio.current_time()
            with ctx.waiting():
                if due(said, status, now) and await self._say(status.instance, status):
                    said = Said(status, now)
                with anyio.move_on_after(min(LOOK_S, status.beat_ms / 2000)):
                    await ctx.draining.wait()
        with ctx.waiting():
            await self._say(self._report().instance, None)

    async def _say(self, instance: str, status: ProcessStatus | None) -> bool:
        """Whether the log has it. If not it is said again soon, by then with newer numbers."""
        try:
            await self._bus.publish([topics.COMPONENTS.emit(instance, status)])
        except Unavailable:
            return False  # the store and everybody else who needs the log say so
        return True


class Reporter:
    """What there is to say, read off the process whenever it is asked. `where` is its address, once it has one."""

    def __init__(self, parts: Parts, status: TreeStatus, *, host: str, where: Callable[[], str | None]) -> None:
        self._parts = parts
        self._status = status
        self._host = host
        self._where = where
        self._mask = masker(secret_values(parts.config))
        self._instance: str | None = None  # stays what it was, should the server come back on another port
        self._started_at_ms: int | None = None

    def __call__(self) -> ProcessStatus:
        watch, now_ms, url = self._parts.watch, self._parts.clock.now_ms(), self._where()
        if self._started_at_ms is None:
            self._started_at_ms = now_ms
        if self._instance is None:
            self._instance = f"{self._host}:{urlsplit(url).port}" if url else self._parts.ids.new()
        waiting = self._status.waiting_for()
        return ProcessStatus(
            instance=self._instance,
            url=url,
            version=__version__,
            started_at_ms=self._started_at_ms,
            at_ms=now_ms,
            beat_ms=round(self._parts.config.status.beat_s * 1000),
            ready=not waiting,
            waiting_for={name: self._told(why) for name, why in sorted(waiting.items())[:REASONS_MAX]},
            components=self._components(),
            memory_bytes=resident_bytes() or 0,
            fold_lag=watch.fold_lag,
            fold_age_ms=round(watch.fold_age_s * 1000),
            caught_up=self._parts.follower.caught_up,
            loop_delay_ms=round(watch.loop_delay_s * 1000),
        )

    def _components(self) -> dict[str, ComponentStatus]:
        restarts, watch, bus = self._status.restarts(), self._parts.watch, self._parts.bus
        dealt = bus.rebalances if isinstance(bus, Rebalancing) else {}
        found: dict[str, ComponentStatus] = {}
        for name, ready in sorted(self._status.ready().items()):
            groups = access.groups(name) if name in access.ACTORS else ()
            lags = [lag for (group, _), lag in watch.lags.items() if group in groups]
            found[name] = ComponentStatus(
                ready=ready,
                restarts=sum(count for (component, _), count in restarts.items() if component == name),
                lag=sum(lags) if lags else None,
                rebalances=sum(dealt.get(group, 0) for group in groups) if groups else None,
            )
        return found

    def _told(self, why: str) -> str:
        """A reason may quote an error, and that whatever it was given."""
        return self._mask(why)[:REASON_CHARS_MAX]
