"""Publishes the log lines of this process to the log, where a fleet has one: the processes with the API show them.

Best effort: an unavailable log delays the lines as long as the ring has them, and a reader is told how many it missed.
Nothing is logged here, or a failure would feed itself.
"""

from collections.abc import Callable
from typing import Final

import anyio

from airy import topics
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.errors import Unavailable
from airy.log_ring import LogLines, LogPosition, LogRing
from airy.model.log_batch import LogBatch

INTERVAL_S: Final = 1.0
BATCH_LINES_MAX: Final = 500
BATCH_BYTES_MAX: Final = 262_144  # one line may be larger


class LogPublisher:
    """`instance` is the name of this process, None until it is known."""

    def __init__(self, bus: Bus, ring: LogRing, instance: Callable[[], str | None]) -> None:
        self._bus = bus
        self._ring = ring
        self._instance = instance
        self._position = LogPosition(ring.epoch, 0)

    async def run(self, ctx: Context) -> None:
        ctx.ready()
        while not ctx.draining.is_set():
            with ctx.waiting():
                await self.publish()
                with anyio.move_on_after(INTERVAL_S):
                    await ctx.draining.wait()
        with ctx.waiting():
            await self.publish()

    async def publish(self) -> None:
        """Everything that is not published yet, in batches. What the log does not take now is tried again later."""
        instance = self._instance()
        while instance is not None:
            read = self._ring.after(self._position)
            lines = _first_lines(read)
            if not lines:
                return
            batch = LogBatch(epoch=self._ring.epoch, first=read.first, lines=lines)
            try:
                await self._bus.publish([topics.PROCESS_LOGS.record(instance, batch)])
            except Unavailable:
                return
            self._position = LogPosition(self._ring.epoch, read.first + len(lines))


def _first_lines(read: LogLines) -> list[str]:
    """At least one, if there is one."""
    lines: list[str] = []
    left = BATCH_BYTES_MAX
    for line in read.lines[:BATCH_LINES_MAX]:
        left -= len(line)
        if lines and left < 0:
            break
        lines.append(line.decode("utf-8", "replace"))
    return lines
