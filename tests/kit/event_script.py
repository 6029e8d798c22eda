"""A source of events for the console: what tests append, served after the position a client gives."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import msgspec

from airy.errors import Refused, Unavailable


class EventScript:
    """`append` events; `cut` ends the connection, `down` refuses new ones. `opened` has the position of each."""

    def __init__(self) -> None:
        self.opened: list[str | None] = []
        self.down = False
        self.refused = ""
        self.forgotten = 0  # events up to this number are not kept any more
        self._texts: list[bytes] = []
        self._changed = anyio.Event()
        self._connection = 0

    def append(self, kind: str, payload: object = None, *, timestamp: int = 1_767_225_600_000) -> None:
        number = len(self._texts) + 1
        at = {"timestamp": timestamp, "sequence": number, "position": str(number), "resume": str(number)}
        event = {"id": f"e{number}", "type": kind, "payload": payload, **at}
        self._texts.append(msgspec.json.encode(event))
        self._wake()

    def cut(self) -> None:
        self._connection += 1
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    @asynccontextmanager
    async def open(self, resume: str | None) -> AsyncIterator[AsyncIterator[bytes]]:
        if self.refused:
            raise Refused(self.refused)
        if self.down:
            raise Unavailable("/events: connection refused")
        self.opened.append(resume)
        yield self._serve(len(self._texts) if resume is None else int(resume))

    async def _serve(self, at: int) -> AsyncIterator[bytes]:
        connection = self._connection
        kind = "resync" if at < self.forgotten else "ready"
        at = max(at, self.forgotten)
        yield msgspec.json.encode({"type": kind, "resume": str(at)})
        while connection == self._connection:
            if at < len(self._texts):
                at += 1
                yield self._texts[at - 1]
            else:
                await self._changed.wait()
