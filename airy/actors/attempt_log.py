"""The record of delivery attempts, published in batches: what was sent when, and its result.

It serves operators, not correctness: while the log is unavailable, records are dropped, oldest first, and deliveries go
on. The queue keeps the newest attempts of each webhook.
"""

from collections import deque

import anyio
import msgspec
from msgspec.structs import replace

from airy import topics
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.errors import Refused, Unavailable
from airy.model.delivery_attempt import DeliveryAttempt
from airy.queue.api import WebhookQueue

WAITING_MAX = 10_000
BATCH_MAX = 500
LINGER_S = 0.2
RETRY_S = 1.0
KEPT_CHARS_MAX = 256  # of a response, in the queue


class AttemptLog:
    def __init__(self, bus: Bus, queue: WebhookQueue) -> None:
        self._bus = bus
        self._queue = queue
        self._waiting: deque[DeliveryAttempt] = deque(maxlen=WAITING_MAX)
        self._added = anyio.Event()
        self._encoder = msgspec.json.Encoder()
        self.lost = 0

    def add(self, attempt: DeliveryAttempt) -> None:
        self.lost += len(self._waiting) == WAITING_MAX
        self._waiting.append(attempt)
        self._added.set()

    async def run(self, ctx: Context) -> None:
        while True:
            await self._added.wait()
            await anyio.sleep(LINGER_S)
            await self.flush(ctx)

    async def flush(self, ctx: Context) -> None:
        """Publishes everything that waits."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
            try:
                await self._bus.publish(
                    [
                        topics.ATTEMPTS.record(one.id, self._encoder.encode(one), headers=(("id", one.id.encode()),))
                        for one in batch
                    ]
                )
            except Unavailable as error:
                ctx.log.warning("attempts.delayed", error=str(error), waiting=len(self._waiting), lost=self.lost)
                self._put_back(batch)
                await anyio.sleep(RETRY_S)
                continue
            except Refused as error:
                self.lost += len(batch)
                ctx.log.error("attempts.refused", error=str(error), lost=self.lost)  # noqa: TRY400 - not a bug
            await self._keep(ctx, batch)
        self._added = anyio.Event()

    async def _keep(self, ctx: Context, batch: list[DeliveryAttempt]) -> None:
        try:
            await self._queue.keep_attempts([replace(one, response=one.response[:KEPT_CHARS_MAX]) for one in batch])
        except Unavailable as error:
            ctx.log.info("attempts.not_kept", error=str(error), attempts=len(batch))

    def _put_back(self, batch: list[DeliveryAttempt]) -> None:
        capacity = WAITING_MAX - len(self._waiting)
        self.lost += max(0, len(batch) - capacity)
        self._waiting.extendleft(reversed(batch[len(batch) - min(capacity, len(batch)) :]))
