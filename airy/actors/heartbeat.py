"""Publishes this process's status to the log: every heartbeat interval, at once on a change, a tombstone at shutdown.

A process that stops because its supervision tree failed leaves its last status instead, which turns stale.

Every process runs it, because an API process reports on processes it cannot reach over the network. Publishing is best
effort: an unavailable log delays it and never fails the process. Readers: `airy.actors.process_registry`; the status
itself comes from `airy.app.status_reporter`.
"""

from collections.abc import Callable

import anyio
from msgspec import Struct

from airy import topics
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.errors import Unavailable
from airy.model.process_status import ProcessStatus

CHECK_S = 1.0

ReadStatus = Callable[[], ProcessStatus]


class Heartbeat(Struct, frozen=True):
    """The heartbeat published last, and its time on the loop's clock: the wall clock may be set."""

    status: ProcessStatus
    at: float


def is_due(last: Heartbeat | None, status: ProcessStatus, now: float) -> bool:
    """Whether the interval has passed, or a reader would decide differently on `status`."""
    if last is None or (now - last.at) * 1000 >= status.heartbeat_interval_ms:
        return True
    return _decisive(last.status) != _decisive(status)


def _decisive(status: ProcessStatus) -> object:
    """What readers decide on. Without the numbers and the wording of reasons, which change all the time."""
    components = {name: (each.ready, each.restarts) for name, each in status.components.items()}
    return status.ready, status.url, status.version, status.caught_up, set(status.waiting_for), components


class HeartbeatPublisher:
    def __init__(self, bus: Bus, read_status: ReadStatus) -> None:
        self._bus = bus
        self._read_status = read_status

    async def run(self, ctx: Context) -> None:
        ctx.ready()
        last: Heartbeat | None = None
        while not ctx.draining.is_set():
            status, now = self._read_status(), anyio.current_time()
            with ctx.waiting():
                if is_due(last, status, now) and await self._publish(status.instance, status):
                    last = Heartbeat(status, now)
                with anyio.move_on_after(min(CHECK_S, status.heartbeat_interval_ms / 2000)):
                    await ctx.draining.wait()
        with ctx.waiting():
            status = self._read_status()
            await self._publish(status.instance, None if status.stopping else status)

    async def _publish(self, instance: str, status: ProcessStatus | None) -> bool:
        """Whether the log accepted it. If not, the next check retries with newer numbers."""
        try:
            await self._bus.publish([topics.COMPONENTS.record(instance, status)])
        except Unavailable:
            return False  # logged by the actors that need the log
        return True
