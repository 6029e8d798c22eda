"""Requests that arrive while the log is busy share the next publish.

A publish costs about the same for one record as for a few dozen, and so does a commit to disk. Nobody waits
for company: when nothing is under way a record goes at once, and what comes meanwhile goes together, as
soon as that is done. A batch fails as a whole, which tells each of its requests what it would have been
told alone: try again.
"""

import anyio

from airy.bus.api import Bus
from airy.bus.record import Emit
from airy.errors import Refused, Unavailable

RECORDS_MAX = 256
BYTES_MAX = 1_048_576


class _Batch:
    """Led by whoever opened it."""

    __slots__ = ("bytes", "done", "emits", "error", "turn")

    def __init__(self) -> None:
        self.emits: list[Emit] = []
        self.bytes = 0
        self.turn = anyio.Event()  # for its leader
        self.done = anyio.Event()  # for everybody else
        self.error: Exception | None = None


class SharedPublish:
    """One publish at a time, batches in the order they were opened."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._busy = False
        self._waiting: list[_Batch] = []  # the last one is open

    async def publish(self, emit: Emit) -> None:
        """Returns once `emit` is durable. Raises what `Bus.publish` raises."""
        if not self._busy:
            self._busy = True
            try:
                await self._bus.publish([emit])
            finally:
                self._next()
            return
        batch = self._joined(emit)
        if batch.emits[0] is emit:
            await self._lead(batch)
        else:
            await batch.done.wait()
        if isinstance(batch.error, Refused) and len(batch.emits) > 1:
            await self._bus.publish([emit])  # perhaps it was not about this one
        elif batch.error is not None:
            raise batch.error

    def _joined(self, emit: Emit) -> _Batch:
        size = len(emit.value or b"")
        batch = self._waiting[-1] if self._waiting else None
        if batch is None or len(batch.emits) >= RECORDS_MAX or batch.bytes + size > BYTES_MAX:
            batch = _Batch()
            self._waiting.append(batch)
        batch.emits.append(emit)
        batch.bytes += size
        return batch

    async def _lead(self, batch: _Batch) -> None:
        try:
            await batch.turn.wait()
            self._waiting.remove(batch)
            await self._bus.publish(batch.emits)
        except Exception as error:  # noqa: BLE001 - everybody in the batch raises it
            batch.error = error
        except BaseException:
            batch.error = Unavailable("the server is stopping")
            raise
        finally:
            if batch in self._waiting:
                self._waiting.remove(batch)
            batch.done.set()
            if batch.turn.is_set():
                self._next()

    def _next(self) -> None:
        """What is under way is done: let the next batch go."""
        if self._waiting:
            self._waiting[0].turn.set()
        else:
            self._busy = False
