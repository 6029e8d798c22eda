"""What workers report at about the same time goes to Redis in one round trip, and each gets its own answer.

While one round trip is under way, the next group gathers; so there is never more than one, and it grows with the load.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import anyio
from anyio.lowlevel import checkpoint
from msgspec import Struct

from airy.actors.webhooks.queue import Job

TURNS = 2  # of the event loop, to wait for company
REPORTS_MAX = 1_000  # per round trip


class Report(Struct, frozen=True, gc=False):
    job: Job
    verb: Literal["done", "retry", "release", "bury"]
    at_ms: int = 0


class _Group:
    __slots__ = ("answers", "error", "reports", "written")

    def __init__(self, first: Report) -> None:
        self.reports = [first]
        self.answers: Sequence[bool] = []
        self.error: Exception | None = None
        self.written = anyio.Event()

    def answer(self, place: int) -> bool:
        if self.error is not None:
            raise self.error
        return self.answers[place]


class Reports:
    def __init__(self, write: Callable[[Sequence[Report]], Awaitable[Sequence[bool]]]) -> None:
        self._write = write
        self._writing = anyio.Lock()
        self._gathering: _Group | None = None

    async def add(self, report: Report) -> bool:
        group = self._gathering
        if group is not None and len(group.reports) < REPORTS_MAX:
            place = len(group.reports)
            group.reports.append(report)
            await group.written.wait()
            return group.answer(place)
        group = self._gathering = _Group(report)
        # Others wait for it, and what a worker has done must not be lost because it is told to stop.
        with anyio.CancelScope(shield=True):
            await self._written(group)
        return group.answer(0)

    async def _written(self, group: _Group) -> None:
        for _ in range(TURNS):
            await checkpoint()
        async with self._writing:
            if self._gathering is group:
                self._gathering = None
            try:
                group.answers = await self._write(group.reports)
            except Exception as error:  # noqa: BLE001 - everybody in the group raises it
                group.error = error
            finally:
                group.written.set()
