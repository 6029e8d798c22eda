"""Tests of endpoints: one signed event now, through the guard and the code of real deliveries, beside the queue."""

import anyio
import structlog

from airy.clock import Clock, Ids
from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.model.delivery_attempt import DeliveryAttempt
from airy.model.entity import Webhook
from airy.queue.api import WebhookQueue
from airy.seal import Sealer
from airy.webhooks.endpoint_test import attempt_of_test, job_of_test
from airy.webhooks.request import open_target
from airy.webhooks.retry import AttemptOutcome
from airy.webhooks.send import DeliveryTimeouts, send

log = structlog.get_logger("airy.commands")


class EndpointTests:
    """`http`: the client of deliveries, which only connects to what the egress policy allows."""

    def __init__(
        self,
        queue: WebhookQueue,
        http: HttpClient,
        sealer: Sealer,
        clock: Clock,
        ids: Ids,
        *,
        timeouts: DeliveryTimeouts | None = None,
    ) -> None:
        self._queue = queue
        self._http = http
        self._sealer = sealer
        self._clock = clock
        self._ids = ids
        self._timeouts = timeouts or DeliveryTimeouts()

    async def run(self, webhook: Webhook) -> DeliveryAttempt:
        """The attempt, whatever became of it. The queue keeps it among the recent ones, if it can."""
        now_ms, started_s = self._clock.now_ms(), anyio.current_time()
        job = job_of_test(webhook.id, self._ids.new(), now_ms)
        try:
            target = open_target(webhook, self._sealer)
        except Refused as error:
            outcome, response = AttemptOutcome(None, str(error)), ""
        else:
            outcome, response = await send(self._http, target, job, now_ms, self._timeouts)
        attempt = attempt_of_test(job, outcome, round((anyio.current_time() - started_s) * 1000), response)
        try:
            await self._queue.keep_attempts([attempt])
        except Unavailable as error:
            log.info("attempts.not_kept", error=str(error), attempts=1)
        return attempt
