"""The record of attempts: what was tried, when, and what came of it, published in batches.

For operators, not for correctness: a log that cannot take them costs records, oldest first, and never a
delivery.
"""

from collections import deque
from typing import Literal

import anyio
import msgspec
from msgspec import Struct

from airy import topics
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.errors import Refused, Unavailable

WAITING_MAX = 10_000
BATCH_MAX = 500
LINGER_S = 0.2
AGAIN_S = 1.0

Result = Literal["delivered", "again", "buried", "disabled"]


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Value of ops.webhooks.attempts; its key is the delivery's id."""

    id: str
    webhook_id: str
    event_id: str
    kind: str
    attempt: int
    at_ms: int
    took_ms: int
    result: Result
    status: int | None = None
    error: str = ""
    again_at_ms: int | None = None
    response: str = ""  # the beginning of it


class Attempts:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: deque[Attempt] = deque(maxlen=WAITING_MAX)
        self._some = anyio.Event()
        self._encoder = msgspec.json.Encoder()
        self.lost = 0

    def add(self, attempt: Attempt) -> None:
        self.lost += len(self._waiting) == WAITING_MAX
        self._waiting.append(attempt)
        self._some.set()

    async def run(self, ctx: Context) -> None:
        while True:
            await self._some.wait()
            await anyio.sleep(LINGER_S)
            await self.flush(ctx)

    async def flush(self, ctx: Context) -> None:
        """Publish what waits."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
            try:
                await self._bus.publish(
                    [
                        topics.ATTEMPTS.emit(one.id, self._encoder.encode(one), headers=(("id", one.id.encode()),))
                        for one in batch
                    ]
                )
            except Unavailable as error:
                ctx.log.warning("attempts.wait", error=str(error), waiting=len(self._waiting), lost=self.lost)
                self._put_back(batch)
                await anyio.sleep(AGAIN_S)
            except Refused as error:
                self.lost += len(batch)
                ctx.log.error("attempts.refused", error=str(error), lost=self.lost)  # noqa: TRY400 - no bug of ours
        self._some = anyio.Event()

    def _put_back(self, batch: list[Attempt]) -> None:
        room = WAITING_MAX - len(self._waiting)
        self.lost += max(0, len(batch) - room)
        self._waiting.extendleft(reversed(batch[len(batch) - min(room, len(batch)) :]))
