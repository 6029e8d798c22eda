"""`/webhooks.stats`, `/webhooks.attempts`, `/webhooks.test`: what an operator asks about an endpoint."""

from typing import Annotated

from msgspec import Meta, Struct

from airy.commands import NotFound
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.ports import ApiContext
from airy.http.request_bodies import Id
from airy.http.response_schemas import ListSchema
from airy.http.webhook_schemas import DeliveryAttemptSchema, WebhookStatsSchema
from airy.model.delivery_attempt import DeliveryAttempt
from airy.model.entity import Webhook
from airy.model.render import timestamp
from airy.queue.api import ATTEMPTS_MAX, WebhookBacklog
from airy.webhooks.recent_attempts import health_state, recent_attempts

STATS_MAX = 100  # webhooks of one call


class WebhookStatsQuery(Struct, frozen=True):
    ids: Annotated[list[Id], Meta(max_length=STATS_MAX)] | None = None  # None: every webhook


class WebhookAttemptsQuery(Struct, frozen=True):
    id: Id
    page_size: Annotated[int, Meta(ge=1, le=ATTEMPTS_MAX)] = ATTEMPTS_MAX


class WebhookReference(Struct, frozen=True):
    id: Id


@action("/webhooks.stats", permission=Permission.READ, body=WebhookStatsQuery, returns=ListSchema[WebhookStatsSchema])
async def stats(api: ApiContext, request: ActionRequest[WebhookStatsQuery]) -> Reply:
    """Health and queue of webhooks: what waits, since when an endpoint fails, how its recent attempts went."""
    wanted = request.body.ids
    if wanted is None:
        webhooks = await api.store.webhooks()
    else:
        webhooks = [await find_webhook(api, webhook_id) for webhook_id in dict.fromkeys(wanted)]
    names, now_ms = [webhook.id for webhook in webhooks], api.clock.now_ms()
    backlogs = await api.queue.backlogs(names, now_ms=api.queue.now_ms(now_ms))
    attempts = await api.queue.attempts(names, attempts_max=ATTEMPTS_MAX)
    return Reply(
        {
            "data": [
                render_stats(webhook, backlog, newest, now_ms)
                for webhook, backlog, newest in zip(webhooks, backlogs, attempts, strict=True)
            ]
        }
    )


@action(
    "/webhooks.attempts",
    permission=Permission.READ,
    body=WebhookAttemptsQuery,
    returns=ListSchema[DeliveryAttemptSchema],
)
async def attempts(api: ApiContext, request: ActionRequest[WebhookAttemptsQuery]) -> Reply:
    """The recent attempts to deliver to a webhook, newest first. The queue keeps fifty of each."""
    webhook = await find_webhook(api, request.body.id)
    (newest,) = await api.queue.attempts([webhook.id], attempts_max=request.body.page_size)
    return Reply({"data": [render_attempt(one) for one in newest]})


@action("/webhooks.test", permission=Permission.MANAGE, body=WebhookReference, returns=DeliveryAttemptSchema)
async def test(api: ApiContext, request: ActionRequest[WebhookReference]) -> Reply:
    """Send one signed event of the type `webhook.test` now, beside the queue, and answer what became of it."""
    webhook = await find_webhook(api, request.body.id)
    return Reply(render_attempt(await api.endpoint_tests.run(webhook)))


async def find_webhook(api: ApiContext, webhook_id: str) -> Webhook:
    webhook = await api.store.webhook(webhook_id)
    if webhook is None:
        raise NotFound(f"there is no webhook {webhook_id}", field="id")
    return webhook


def render_stats(
    webhook: Webhook, backlog: WebhookBacklog, newest: list[DeliveryAttempt], now_ms: int
) -> dict[str, object]:
    recent, failing = recent_attempts(newest), backlog.failing
    return {
        "id": webhook.id,
        "at": timestamp(now_ms),
        "health": health_state(webhook, backlog, recent, now_ms),
        "disabled_reason": webhook.disabled_reason,
        "waiting": backlog.waiting,
        "in_flight": backlog.leased,
        "oldest_at": _time(backlog.oldest_at_ms),
        "retry_at": _time(backlog.retry_at_ms),
        "paused_until": _time(recent.paused_until_ms(now_ms)),
        "failing_since": _time(failing.since_ms if failing else None),
        "failures": failing.attempts if failing else 0,
        "attempts": recent.attempts,
        "success_rate": recent.success_rate,
        "last_attempt": render_attempt(recent.last) if recent.last else None,
    }


def render_attempt(attempt: DeliveryAttempt) -> dict[str, object]:
    return {
        "delivery_id": attempt.id,
        "event_id": attempt.event_id,
        "event": attempt.kind,
        "attempt": attempt.attempt,
        "attempted_at": timestamp(attempt.at_ms),
        "latency_ms": attempt.took_ms,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "error": attempt.error or None,
        "response": attempt.response,
        "next_attempt_at": _time(attempt.again_at_ms),
    }


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else timestamp(at_ms)
