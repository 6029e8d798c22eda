"""One delivery: is it still wanted, the call, and what its outcome means for the job, the endpoint and
the webhook.

Whatever a provider or a user did wrong ends here as an outcome. Only bugs leave.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import assert_never

import anyio

from airy.actors.runtime import Context
from airy.actors.webhooks.attempts import Attempt, Attempts, Result
from airy.actors.webhooks.dead_letters import DeadLetters, dead_delivery
from airy.actors.webhooks.endpoint import Endpoint
from airy.actors.webhooks.matching import wants
from airy.actors.webhooks.queue import Job, WebhookQueue
from airy.actors.webhooks.request import Target, open_target, request_headers
from airy.actors.webhooks.retry import (
    ATTEMPTS_MAX,
    Again,
    Bury,
    Decision,
    Disable,
    Done,
    Outcome,
    answered,
    decide,
    given_up,
)
from airy.actors.webhooks.subscribers import Subscribers
from airy.errors import Refused, Unavailable
from airy.fetch import Fetch
from airy.histogram import Histogram
from airy.model.entity import Webhook
from airy.seal import Sealer
from airy.trace import trace_id_of

RESPONSE_BYTES_MAX = 16_384  # read, so that the connection can be kept
RESPONSE_CHARS_MAX = 1_024  # recorded
HANDOUTS_MAX = 2 * ATTEMPTS_MAX  # with outcomes that were lost; beyond that it is what kills us
PAUSE_S = 1.0
SWITCH_OFF_AGAIN_S = 60.0
BURY_AGAIN_S = 60.0

SwitchOff = Callable[[str, str], Awaitable[None]]

RESULTS: dict[type[Decision], Result] = {Done: "delivered", Again: "again", Bury: "buried", Disable: "disabled"}


class Courier:
    """`switch_off(webhook_id, reason)` writes a webhook's record as unsubscribed."""

    def __init__(
        self,
        queue: WebhookQueue,
        fetch: Fetch,
        sealer: Sealer,
        subscribers: Subscribers,
        *,
        attempts: Attempts,
        dead_letters: DeadLetters,
        switch_off: SwitchOff,
        connect_s: float,
        total_s: float,
        counts: Counter[str],
        lateness: Histogram,
    ) -> None:
        self._queue = queue
        self._fetch = fetch
        self._sealer = sealer
        self._subscribers = subscribers
        self._attempts = attempts
        self._dead_letters = dead_letters
        self._switch_off = switch_off
        self._connect_s = connect_s
        self._total_s = total_s
        self._targets: dict[str, tuple[Webhook, Target]] = {}
        self._going: set[str] = set()  # webhooks that are being switched off
        self._lateness = lateness  # likewise: of changes, when an endpoint took them
        self._counts = counts  # attempts that succeeded or failed, for metrics; whoever gave it keeps it

    async def carry(self, ctx: Context, job: Job, webhook: Webhook | None, endpoint: Endpoint) -> None:
        if webhook is None or not wants(webhook, job.entry.kind):
            webhook = await self._still_wanted(ctx, job, endpoint)
            if webhook is None:
                return
        if job.attempt > HANDOUTS_MAX:
            await self._settle(ctx, job, webhook, Bury(f"handed out {job.attempt - 1} times, and never heard of again"))
            return
        started_ms = ctx.clock.now_ms()
        outcome, response = await self._call(job, webhook, started_ms)
        now_ms = ctx.clock.now_ms()
        endpoint.record(outcome, now_ms, ctx.random)
        decision = decide(job.attempt, outcome, job.first_at_ms, now_ms, ctx.random)
        self._counts["delivered" if outcome.succeeded else "failed"] += 1
        if outcome.succeeded:
            self._lateness.add(max(0, now_ms - job.entry.at_ms) / 1000)
        self._attempts.add(
            Attempt(
                id=job.id,
                webhook_id=job.webhook_id,
                event_id=job.entry.event_id,
                kind=job.entry.kind,
                attempt=job.attempt,
                at_ms=started_ms,
                took_ms=now_ms - started_ms,
                result=RESULTS[type(decision)],
                status=outcome.status,
                error=outcome.error,
                response=response,
                again_at_ms=decision.due_ms if isinstance(decision, Again) else None,
            )
        )
        if not outcome.succeeded:
            ctx.log.info("delivery.failed", status=outcome.status, error=outcome.error, **_about(job))
        await self._settle(ctx, job, webhook, decision)

    async def give_back(self, ctx: Context, job: Job) -> None:
        """Not attempted after all."""
        await self._report(ctx, job, lambda: self._queue.release(job))

    # --- before

    async def _still_wanted(self, ctx: Context, job: Job, endpoint: Endpoint) -> Webhook | None:
        """Our view may be older than the queue's: before a delivery is dropped, a view that cannot be is asked."""
        try:
            webhooks = {webhook.id: webhook for webhook in await self._subscribers.current()}
        except Unavailable as error:
            ctx.log.info("delivery.waits", error=str(error), **_about(job))
            endpoint.hold(ctx.clock.now_ms() + round(PAUSE_S * 1000))
            await self.give_back(ctx, job)
            return None
        webhook = webhooks.get(job.webhook_id)
        if webhook is None or webhook.status != "Subscribed":
            await self._forget(ctx, job.webhook_id)
        elif not wants(webhook, job.entry.kind):
            await self._dead_letters.made(ctx, job.id)
            await self._report(ctx, job, lambda: self._queue.done(job))
        else:
            return webhook
        return None

    async def _forget(self, ctx: Context, webhook_id: str) -> None:
        self._targets.pop(webhook_id, None)
        dropped = await self._queue.drop_webhook(webhook_id)
        if dropped:
            ctx.log.info("webhook.dropped", webhook_id=webhook_id, deliveries=dropped)

    # --- the call

    async def _call(self, job: Job, webhook: Webhook, now_ms: int) -> tuple[Outcome, str]:
        try:
            target = self._target(webhook)
            answer = await self._fetch(
                "POST",
                target.url,
                headers=request_headers(target, job, now_ms),
                body=job.entry.body,
                connect_s=self._connect_s,
                total_s=self._total_s,
                body_bytes_max=RESPONSE_BYTES_MAX,
            )
        except (Unavailable, Refused) as error:
            return Outcome(None, str(error)), ""
        response = target.hide(answer.body.decode("utf-8", "replace")) if answer.body else ""
        return answered(answer, now_ms), response[:RESPONSE_CHARS_MAX]

    def _target(self, webhook: Webhook) -> Target:
        known = self._targets.get(webhook.id)
        if known is None or known[0] != webhook:
            known = self._targets[webhook.id] = webhook, open_target(webhook, self._sealer)
        return known[1]

    # --- after

    async def _settle(self, ctx: Context, job: Job, webhook: Webhook, decision: Decision) -> None:
        match decision:
            case Done():
                await self._dead_letters.made(ctx, job.id)  # first: else it could be put into the queue once more
                await self._report(ctx, job, lambda: self._queue.done(job))
            case Again(due_ms, reason):
                await self._report(ctx, job, lambda: self._queue.retry(job, due_ms=due_ms, reason=reason))
                await self._consider(ctx, webhook)
            case Bury(reason):
                await self._bury(ctx, job, reason)
                await self._consider(ctx, webhook)
            case Disable(reason):
                if not await self._disable(ctx, webhook, reason):
                    due_ms = ctx.clock.now_ms() + round(SWITCH_OFF_AGAIN_S * 1000)
                    await self._report(ctx, job, lambda: self._queue.retry(job, due_ms=due_ms, reason=reason))
            case _:
                assert_never(decision)

    async def _bury(self, ctx: Context, job: Job, reason: str) -> None:
        """The log has it before the queue lets go of it; whatever is lost in between, it is buried once more."""
        now_ms = ctx.clock.now_ms()
        dead = dead_delivery(job, reason, now_ms)
        try:
            await self._dead_letters.keep(dead)
        except Unavailable as error:
            ctx.log.warning("delivery.not_buried", error=str(error), **_about(job))
            due_ms = ctx.clock.now_ms() + round(BURY_AGAIN_S * 1000)
            await self._report(ctx, job, lambda: self._queue.retry(job, due_ms=due_ms, reason=reason))
            return
        except Refused as error:  # too large for any log: better lost and said so than in the way of its lane for ever
            ctx.log.error("delivery.burial_refused", error=str(error), **_about(job))  # noqa: TRY400 - no bug of ours
        ctx.log.warning("delivery.buried", reason=reason, **_about(job))
        if await self._report(ctx, job, lambda: self._queue.bury(job, now_ms=now_ms)) is False:
            await self._dead_letters.forget(ctx, [dead.id])  # somebody else has it, and may yet deliver it

    async def _report(self, ctx: Context, job: Job, report: Callable[[], Awaitable[bool]]) -> bool | None:
        """Tell the queue, as long as the lease lasts; after that somebody else delivers it again.

        True: it is done. False: nothing was done, our lease was lost. None: nobody knows.
        """
        unsure = False
        while True:
            try:
                held = await report()
            except Unavailable as error:
                unsure = True  # the effect may be there without its answer, and then the next answer is no
                if ctx.clock.now_ms() + PAUSE_S * 1000 >= job.leased_until_ms:
                    ctx.log.warning("delivery.outcome_lost", error=str(error), **_about(job))
                    return None
                with ctx.waiting():
                    await anyio.sleep(PAUSE_S)
            else:
                if not held:
                    ctx.log.info("delivery.lease_lost", **_about(job))
                return None if unsure and not held else held

    async def _consider(self, ctx: Context, webhook: Webhook) -> None:
        """Switch off a webhook that has done nothing but fail, counted from its last change."""
        try:
            failing = await self._queue.failing(webhook.id)
        except Unavailable:
            return  # the next failure asks again
        if failing is not None:
            since_ms = max(failing.since_ms, webhook.updated_at_ms)
            verdict = given_up(since_ms, failing.attempts, ctx.clock.now_ms())
            if verdict is not None:
                await self._disable(ctx, webhook, verdict.reason)

    async def _disable(self, ctx: Context, webhook: Webhook, reason: str) -> bool:
        """Whether it is off, or about to be: then its jobs are gone, this one too."""
        if webhook.id in self._going:
            return True
        self._going.add(webhook.id)
        try:
            now = {one.id: one for one in await self._subscribers.current()}.get(webhook.id)
            if now is not None and now.url != webhook.url:
                return False  # the verdict is about an endpoint it does not have any more
            await self._switch_off(webhook.id, reason)
        except Unavailable as error:
            ctx.log.warning("webhook.not_switched_off", webhook_id=webhook.id, error=str(error))
            return False
        finally:
            self._going.discard(webhook.id)
        ctx.log.warning("webhook.switched_off", webhook_id=webhook.id, reason=reason)
        await self._forget(ctx, webhook.id)
        return True


def _about(job: Job) -> dict[str, object]:
    """What a log line about a delivery names."""
    return {
        "delivery_id": job.id,
        "webhook_id": job.webhook_id,
        "conversation_id": job.entry.lane,
        "offset": job.entry.id[0],
        "attempt": job.attempt,
        "trace_id": trace_id_of(job.entry.trace),
    }
