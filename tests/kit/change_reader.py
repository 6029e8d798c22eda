"""A reader of changes that records what it is given: the smallest user of `deliver`, and a second one in every test."""

from collections.abc import Awaitable, Callable

import anyio
from msgspec import Struct, field

from airy import topics
from airy.actors.change_effect import deliver
from airy.actors.change_sink import ReaderLimits
from airy.actors.fold_progress import FoldProgress
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.change_readers import ReaderSpec
from airy.store.api import ChangeReader, StoredChange

READER = ReaderSpec(name="recorder", component="recorder", actor="recorder", group="recorder")
DEAD_LETTERS = topics.dead_letters("changes.recorder")

Behaviour = Callable[[StoredChange], Awaitable[None]]


class Recording(Struct):
    """What one or several readers were given, in order; shared by those that replace each other."""

    begun: list[StoredChange] = field(default_factory=list)
    finished: list[StoredChange] = field(default_factory=list)
    behaviour: Behaviour | None = None  # may wait or raise
    rebuilds: list[str] = field(default_factory=list)

    def ids(self) -> list[str]:
        return [stored.change.id for stored in self.finished]

    async def reached(self, count: int, within_s: float) -> None:
        with anyio.fail_after(within_s):
            while len(self.finished) < count:
                await anyio.sleep(0.02)


class RecordingReader:
    def __init__(
        self,
        bus: Bus,
        store: ChangeReader,
        progress: FoldProgress,
        recording: Recording,
        *,
        reader: ReaderSpec = READER,
        limits: ReaderLimits | None = None,
    ) -> None:
        self._parts = {"bus": bus, "store": store, "progress": progress, "limits": limits}
        self._recording = recording
        self._reader = reader

    async def run(self, ctx: Context) -> None:
        parts, rebuild = self._parts, self._recording.rebuilds.append
        await deliver(ctx, self._reader, self._record, **parts, dead_letters=DEAD_LETTERS, rebuild=rebuild)  # type: ignore[arg-type]

    async def _record(self, stored: StoredChange) -> None:
        self._recording.begun.append(stored)
        if self._recording.behaviour is not None:
            await self._recording.behaviour(stored)
        self._recording.finished.append(stored)
