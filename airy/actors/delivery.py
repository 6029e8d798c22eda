"""Executes one delivery: checks that it is still wanted, sends it, and applies the outcome to the job, the endpoint and
the webhook.

Errors of endpoints and users become outcomes here, and so do bugs: nothing of one subscriber may stop the deliveries to
others. Failures of the queue, the log and the store are raised.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import assert_never

import anyio
from msgspec import Struct, field

from airy.actors.attempt_log import AttemptLog
from airy.actors.bug_report import BUG_REASON, BUGS, BugCounts
from airy.actors.dead_deliveries import DeadDeliveries
from airy.actors.runtime import Context
from airy.actors.subscribers import Subscribers
from airy.bug_fields import bug_fields
from airy.errors import Refused, Unavailable
from airy.histogram import LONG_S, Histogram
from airy.http_client import HttpClient
from airy.model.delivery_attempt import AttemptResult, DeliveryAttempt
from airy.model.entity import Webhook
from airy.queue.api import Job, WebhookQueue
from airy.seal import Sealer
from airy.trace import trace_id_of
from airy.webhooks.dead_letter import dead_delivery
from airy.webhooks.endpoint_health import EndpointHealth
from airy.webhooks.matching import wants
from airy.webhooks.request import DeliveryTarget, open_target
from airy.webhooks.retry import (
    ATTEMPTS_MAX,
    SCHEDULE_S,
    AttemptOutcome,
    DeadLetter,
    Decision,
    Delivered,
    DisableWebhook,
    Retry,
    decide,
    disable_if_failing,
)
from airy.webhooks.send import DeliveryTimeouts, send

RESPONSE_BODY_S = 2.0  # for its body after its head; the status is known by then
LEASES_MAX = 2 * ATTEMPTS_MAX  # including those without an outcome; beyond that the delivery probably crashes workers
PAUSE_S = 1.0
DISABLE_RETRY_S = 60.0
DEAD_LETTER_RETRY_S = 60.0

DisableCallback = Callable[[str, str], Awaitable[None]]
"""Writes a webhook's record as unsubscribed. Arguments: webhook id, reason."""

RESULTS: dict[type[Decision], AttemptResult] = {
    Delivered: "delivered",
    Retry: "again",
    DeadLetter: "buried",
    DisableWebhook: "disabled",
}


class DeliveryMetrics(Struct, frozen=True, kw_only=True):
    """Updated in place; the values outlive a restart of the dispatcher, because their owner keeps them."""

    attempts: Counter[str] = field(default_factory=Counter)  # `delivered` and `failed`
    bugs: BugCounts = field(default_factory=Counter)
    latency: Histogram = field(default_factory=lambda: Histogram(LONG_S))  # s from the change to its delivery


class DeliveryExecutor:
    def __init__(
        self,
        queue: WebhookQueue,
        http: HttpClient,
        sealer: Sealer,
        subscribers: Subscribers,
        *,
        attempts: AttemptLog,
        dead_deliveries: DeadDeliveries,
        disable_webhook: DisableCallback,
        timeouts: DeliveryTimeouts,
        report_s: float,
        metrics: DeliveryMetrics,
    ) -> None:
        self._queue = queue
        self._http = http
        self._sealer = sealer
        self._subscribers = subscribers
        self._attempts = attempts
        self._dead_deliveries = dead_deliveries
        self._disable_webhook = disable_webhook
        self._timeouts = timeouts
        self._report_s = report_s  # how long a lease outlasts the longest request
        self._metrics = metrics
        self._targets: dict[str, tuple[Webhook, DeliveryTarget]] = {}
        self._disabling: set[str] = set()  # webhook ids

    async def deliver(
        self, ctx: Context, job: Job, webhook: Webhook | None, endpoint: EndpointHealth, *, started_s: float
    ) -> None:
        """`started_s` is on the event loop's clock."""
        if webhook is None or not wants(webhook, job.entry.kind):
            webhook = await self._still_wanted(ctx, job, endpoint)
            if webhook is None:
                return
        if job.attempt > LEASES_MAX:
            await self._settle(ctx, job, webhook, DeadLetter(f"leased {job.attempt - 1} times without an outcome"))
            return
        started_ms = ctx.clock.now_ms()
        outcome, response = await self._send(ctx, job, webhook, started_ms)
        now_ms, now_s = ctx.clock.now_ms(), anyio.current_time()
        endpoint.record(outcome, now_s - started_s, now_s, ctx.random)
        decision = decide(job.attempt, outcome, job.first_at_ms, self._queue.now_ms(now_ms), ctx.random)
        self._metrics.attempts["delivered" if outcome.succeeded else "failed"] += 1
        if outcome.succeeded:
            self._metrics.latency.add(max(0, now_ms - job.entry.at_ms) / 1000)
        available_at_s = endpoint.available_at_s(now_s)
        self._attempts.add(
            DeliveryAttempt(
                id=job.id,
                webhook_id=job.webhook_id,
                event_id=job.entry.event_id,
                kind=job.entry.kind,
                attempt=job.attempt,
                at_ms=started_ms,
                queued_at_ms=job.entry.queued_at_ms,
                took_ms=round((now_s - started_s) * 1000),
                result=RESULTS[type(decision)],
                status=outcome.status,
                error=outcome.error,
                response=response,
                again_at_ms=decision.due_ms if isinstance(decision, Retry) else None,
                paused_until_ms=None if available_at_s is None else now_ms + round((available_at_s - now_s) * 1000),
            )
        )
        if not outcome.succeeded:
            ctx.log.info("delivery.failed", status=outcome.status, error=outcome.error, **_fields(job))
        await self._settle(ctx, job, webhook, decision)

    async def release(self, ctx: Context, job: Job) -> None:
        """Ends the lease of a job that was not attempted."""
        await self._report(ctx, job, lambda: self._queue.release(job))

    # --- before the request

    async def _still_wanted(self, ctx: Context, job: Job, endpoint: EndpointHealth) -> Webhook | None:
        """The webhook as of now, or None after the job was released or removed. The store may be behind the queue, so
        a job is removed only after a read that is not.
        """
        try:
            webhooks = {webhook.id: webhook for webhook in await self._subscribers.current()}
        except Unavailable as error:
            ctx.log.info("delivery.webhook_unavailable", error=str(error), **_fields(job))
            endpoint.pause(anyio.current_time() + PAUSE_S)
            await self.release(ctx, job)
            return None
        webhook = webhooks.get(job.webhook_id)
        if webhook is None or webhook.status != "Subscribed":
            await self._drop(ctx, job.webhook_id)
        elif not wants(webhook, job.entry.kind):
            await self._dead_deliveries.resolve(ctx, job.id)
            await self._report(ctx, job, lambda: self._queue.complete(job))
        else:
            return webhook
        return None

    async def _drop(self, ctx: Context, webhook_id: str) -> None:
        self._targets.pop(webhook_id, None)
        dropped = await self._queue.drop_webhook(webhook_id)
        if dropped:
            ctx.log.info("webhook.deliveries_dropped", webhook_id=webhook_id, deliveries=dropped)

    # --- the request

    async def _send(self, ctx: Context, job: Job, webhook: Webhook, now_ms: int) -> tuple[AttemptOutcome, str]:
        try:
            return await send(self._http, self._target(webhook), job, now_ms, self._timeouts)
        except Refused as error:
            return AttemptOutcome(None, str(error)), ""
        except Exception as error:  # noqa: BLE001 - with the URL, secrets, headers or answer of this subscriber
            self._count_bug(ctx, job, error)
            return AttemptOutcome(None, BUG_REASON), ""

    async def end_after_bug(self, ctx: Context, job: Job, error: Exception) -> None:
        """Ends an attempt that raised outside of its request: it failed, and is repeated by the schedule. If not even
        that can be recorded, its lease expires.
        """
        self._count_bug(ctx, job, error)
        self._metrics.attempts["failed"] += 1
        delay_s = SCHEDULE_S[min(job.attempt, ATTEMPTS_MAX - 1)]
        try:
            await self._retry_in(ctx, job, delay_s, BUG_REASON)
        except BUGS as again:
            self._count_bug(ctx, job, again)

    def _count_bug(self, ctx: Context, job: Job, error: Exception) -> None:
        self._metrics.bugs["delivery"] += 1
        ctx.log.error("delivery.failed_unexpectedly", **_fields(job), **bug_fields(error))

    def _target(self, webhook: Webhook) -> DeliveryTarget:
        cached = self._targets.get(webhook.id)
        if cached is None or cached[0] != webhook:
            cached = self._targets[webhook.id] = webhook, open_target(webhook, self._sealer)
        return cached[1]

    # --- after the request

    async def _settle(self, ctx: Context, job: Job, webhook: Webhook, decision: Decision) -> None:
        match decision:
            case Delivered():
                # In this order: while its records exist, a round may put a replay into the queue again.
                await self._dead_deliveries.resolve(ctx, job.id)
                await self._report(ctx, job, lambda: self._queue.complete(job))
            case Retry(now_ms, due_ms, reason):
                await self._report_retry(ctx, job, now_ms, due_ms, reason)
                await self._disable_if_failing(ctx, webhook)
            case DeadLetter(reason):
                await self._dead_letter(ctx, job, reason)
                await self._disable_if_failing(ctx, webhook)
            case DisableWebhook(reason):
                if not await self._disable(ctx, webhook, reason):
                    await self._retry_in(ctx, job, DISABLE_RETRY_S, reason)
            case _:
                assert_never(decision)

    async def _dead_letter(self, ctx: Context, job: Job, reason: str) -> None:
        """Written to the log before the queue removes the job; a crash in between repeats this with another record."""
        now_ms = ctx.clock.now_ms()
        dead = dead_delivery(job, reason, now_ms)
        try:
            await self._dead_deliveries.write(dead)
        except Unavailable as error:
            ctx.log.warning("delivery.dead_letter_delayed", error=str(error), **_fields(job))
            await self._retry_in(ctx, job, DEAD_LETTER_RETRY_S, reason)
            return
        except Refused as error:  # too large for any log: logged and lost, rather than blocking its lane for ever
            ctx.log.error("delivery.dead_letter_refused", error=str(error), **_fields(job))  # noqa: TRY400 - not a bug
        ctx.log.warning("delivery.dead_lettered", reason=reason, **_fields(job))
        if await self._report(ctx, job, lambda: self._queue.dead_letter(job, now_ms=now_ms)) is False:
            await self._dead_deliveries.delete(ctx, [dead.id])  # another worker has the lease and may yet deliver it

    async def _retry_in(self, ctx: Context, job: Job, delay_s: float, reason: str) -> None:
        now_ms = self._queue.now_ms(ctx.clock.now_ms())
        await self._report_retry(ctx, job, now_ms, now_ms + round(delay_s * 1000), reason)

    async def _report_retry(self, ctx: Context, job: Job, now_ms: int, due_ms: int, reason: str) -> None:
        await self._report(ctx, job, lambda: self._queue.retry(job, now_ms=now_ms, due_ms=due_ms, reason=reason))

    async def _report(self, ctx: Context, job: Job, report: Callable[[], Awaitable[bool]]) -> bool | None:
        """Report an outcome to the queue, again and again until its lease has expired; then another worker repeats the
        delivery.

        True: applied. False: not applied, the lease was lost. None: unknown.
        """
        unsure, until_s = False, anyio.current_time() + self._report_s
        while True:
            try:
                held = await report()
            except Unavailable as error:
                unsure = True  # it may be applied without an answer, and then the next answer is False
                if anyio.current_time() + PAUSE_S >= until_s:
                    ctx.log.warning("delivery.outcome_lost", error=str(error), **_fields(job))
                    return None
                with ctx.waiting():
                    await anyio.sleep(PAUSE_S)
            else:
                if not held:
                    ctx.log.info("delivery.lease_lost", **_fields(job))
                return None if unsure and not held else held

    async def _disable_if_failing(self, ctx: Context, webhook: Webhook) -> None:
        """Disables a webhook whose attempts have all failed for long, counted from its last change."""
        try:
            streak = await self._queue.failure_streak(webhook.id)
        except Unavailable:
            return  # checked again after the next failure
        if streak is not None:
            since_ms = max(streak.since_ms, webhook.updated_at_ms)
            decision = disable_if_failing(since_ms, streak.attempts, ctx.clock.now_ms())
            if decision is not None:
                await self._disable(ctx, webhook, decision.reason)

    async def _disable(self, ctx: Context, webhook: Webhook, reason: str) -> bool:
        """Whether it is disabled, or about to be; then its jobs are dropped, this one included."""
        if webhook.id in self._disabling:
            return True
        self._disabling.add(webhook.id)
        try:
            current = {one.id: one for one in await self._subscribers.current()}.get(webhook.id)
            if current is not None and current.url != webhook.url:
                return False  # the reason concerns an endpoint that the webhook no longer has
            await self._disable_webhook(webhook.id, reason)
        except Unavailable as error:
            ctx.log.warning("webhook.disable_failed", webhook_id=webhook.id, error=str(error))
            return False
        finally:
            self._disabling.discard(webhook.id)
        ctx.log.warning("webhook.disabled", webhook_id=webhook.id, reason=reason)
        await self._drop(ctx, webhook.id)
        return True


def _fields(job: Job) -> dict[str, object]:
    """The fields of a log line about a delivery."""
    return {
        "delivery_id": job.id,
        "webhook_id": job.webhook_id,
        "conversation_id": job.entry.lane,
        "offset": job.entry.id[0],
        "attempt": job.attempt,
        "trace_id": trace_id_of(job.entry.trace),
    }
