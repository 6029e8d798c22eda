"""Writes the outcomes that concurrent workers report in one round trip; each worker gets its own answer.

At most one round trip is in flight. The next batch gathers meanwhile, so batches grow with the load.
"""

from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.lowlevel import checkpoint

from airy.queue.outcome import JobOutcome

GATHER_TURNS = 2  # event loop turns to wait for more workers
OUTCOMES_MAX = 1_000  # per round trip


class _OutcomeBatch:
    __slots__ = ("answers", "error", "outcomes", "written")

    def __init__(self, first: JobOutcome) -> None:
        self.outcomes = [first]
        self.answers: Sequence[bool] = []
        self.error: Exception | None = None
        self.written = anyio.Event()

    def answer(self, index: int) -> bool:
        if self.error is not None:
            raise self.error
        return self.answers[index]


class OutcomeBatcher:
    def __init__(self, write: Callable[[Sequence[JobOutcome]], Awaitable[Sequence[bool]]]) -> None:
        self._write = write
        self._writing = anyio.Lock()
        self._gathering: _OutcomeBatch | None = None

    async def add(self, outcome: JobOutcome) -> bool:
        batch = self._gathering
        if batch is not None and len(batch.outcomes) < OUTCOMES_MAX:
            index = len(batch.outcomes)
            batch.outcomes.append(outcome)
            await batch.written.wait()
            return batch.answer(index)
        batch = self._gathering = _OutcomeBatch(outcome)
        # Shielded: other workers wait for this batch, and a cancelled worker must not lose an outcome it has reported.
        with anyio.CancelScope(shield=True):
            await self._send(batch)
        return batch.answer(0)

    async def _send(self, batch: _OutcomeBatch) -> None:
        for _ in range(GATHER_TURNS):
            await checkpoint()
        async with self._writing:
            if self._gathering is batch:
                self._gathering = None
            try:
                batch.answers = await self._write(batch.outcomes)
            except Exception as error:  # noqa: BLE001 - every worker in the batch raises it
                batch.error = error
            finally:
                batch.written.set()
