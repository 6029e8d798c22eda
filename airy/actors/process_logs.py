"""The last log lines of every process: of this one from its own ring, of the others from what they publish to the log.

Runs in processes with the API of a fleet; `airy.actors.log_publisher` publishes the lines.
"""

from collections.abc import Callable, Mapping
from typing import Final

import anyio

from airy import topics
from airy.actors.runtime import Context
from airy.bus.api import Bus, OffsetOutOfRange
from airy.bus.draining_fetch import draining_fetch
from airy.bus.record import Record, TopicPartition
from airy.errors import Unavailable, Undecodable
from airy.log_ring import LogRing

THIS_PROCESS: Final = "this process"  # until its name is known
LINES_MAX: Final = 2_000  # of each other process
BYTES_MAX: Final = 1_048_576  # likewise
PROCESSES_MAX: Final = 64
HISTORY_MS: Final = 15 * 60_000  # read at the start
FETCH_S: Final = 5.0
RETRY_S: Final = 1.0


class ProcessLogs:
    """`own` is the ring of this process. `instance` is set once its name is known. Keeps its content across restarts
    of `run`.
    """

    def __init__(self, own: LogRing) -> None:
        self.own = own
        self.instance: Callable[[], str | None] = lambda: None
        self._others: dict[str, LogRing] = {}  # the one that wrote last is at the end
        self._positions: dict[TopicPartition, int] = {}

    @property
    def name(self) -> str:
        """Of this process."""
        return self.instance() or THIS_PROCESS

    def rings(self) -> Mapping[str, LogRing]:
        """By instance."""
        return {self.name: self.own, **self._others}

    async def run(self, ctx: Context, bus: Bus) -> None:
        """Until draining. Retries while the log is unavailable."""
        ctx.ready()
        while not ctx.draining.is_set():
            try:
                await self._follow(ctx, bus)
            except OffsetOutOfRange:  # retention was faster: go on with what there is
                self._positions = {}
            except Unavailable:
                with ctx.waiting(), anyio.move_on_after(RETRY_S):
                    await ctx.draining.wait()

    async def _follow(self, ctx: Context, bus: Bus) -> None:
        if not self._positions:
            self._positions = await bus.offsets_at([topics.PROCESS_LOGS], ctx.clock.now_ms() - HISTORY_MS)
        async with bus.tail(self._positions) as tail, draining_fetch(ctx) as fetcher:
            while not ctx.draining.is_set():
                for record in await fetcher.fetch(tail, records_max=100, bytes_max=4_194_304, wait_s=FETCH_S):
                    self.add(record)
                self._positions = {tp: tail.position(tp) for tp in self._positions}
                ctx.progress()

    def add(self, record: Record) -> None:
        """Lines that are known already are skipped; a new run of a process replaces the lines of the former one."""
        instance = record.key.decode("utf-8", "replace")
        try:
            batch = topics.PROCESS_LOGS.decode(record)
        except Undecodable:  # of a newer version
            return
        if batch is None or instance == self.instance():
            return
        ring = self._others.pop(instance, None)
        if ring is None or ring.epoch != batch.epoch:
            ring = LogRing(epoch=batch.epoch, lines_max=LINES_MAX, bytes_max=BYTES_MAX)
        ring.skip_to(batch.first)
        for line in batch.lines[ring.next - batch.first :]:
            ring.append(line.encode())
        self._others[instance] = ring
        if len(self._others) > PROCESSES_MAX:
            del self._others[next(iter(self._others))]
