"""`/webhooks.*`"""

from typing import Annotated

import structlog
from msgspec import Meta, Struct

from airy.commands import Conflict, WebhookChanges
from airy.commands.dead_deliveries import AT_ONCE_MAX
from airy.errors import Refused
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.body_kinds import EmptyBody
from airy.http.pagination import page_body
from airy.http.ports import ApiContext
from airy.http.request_bodies import FilledText, Id, LongText, Text
from airy.http.resource import Resource
from airy.http.response_schemas import ListSchema, PageSchema
from airy.http.webhook_operations import WebhookReference, attempts, find_webhook, stats, test
from airy.http.webhook_schemas import DeadDeliverySchema, ReplayResultSchema, SignedWebhookSchema, WebhookSchema
from airy.model.dead_delivery import DeadDelivery
from airy.model.entity import Webhook, WebhookStatus
from airy.model.render import render_webhook, timestamp
from airy.secret import Secret
from airy.store.cursors import page_size

EVENTS_MAX = 64

log = structlog.get_logger("airy.http")

Events = Annotated[list[Text], Meta(max_length=EVENTS_MAX)]


DELIVERY_COMPONENTS = ("webhook-publisher", "webhook-consumer")


class SubscribeWebhook(Struct, frozen=True):
    url: LongText
    id: Id | None = None
    name: Text | None = None
    events: Events | None = None
    headers: dict[str, LongText] | None = None
    signature_key: Secret | None = None


class UpdateWebhook(Struct, frozen=True):
    id: Id
    url: LongText | None = None
    name: Text | None = None
    events: Events | None = None
    headers: dict[str, LongText] | None = None
    signature_key: Secret | None = None
    status: WebhookStatus | None = None


class ListDeadDeliveries(Struct, frozen=True):
    id: Id | None = None  # of a webhook; None: of every webhook
    cursor: FilledText | None = None
    page_size: int | None = None  # None: the number that one replay may have


class ReplayDeadDeliveries(Struct, frozen=True):
    """Either one dead delivery by its id, or those of a webhook."""

    delivery_id: FilledText | None = None
    id: Id | None = None


@action("/webhooks.subscribe", permission=Permission.MANAGE, body=SubscribeWebhook, returns=SignedWebhookSchema)
async def subscribe(api: ApiContext, request: ActionRequest[SubscribeWebhook]) -> Reply:
    """Subscribe a URL to events. Only this response contains the signing secret."""
    _require_delivery(api)
    body = request.body
    changes = WebhookChanges(
        url=body.url,
        name=body.name,
        events=body.events,
        headers=body.headers,
        signature_key=body.signature_key,
    )
    written = await api.commands.webhooks.subscribe(changes, request.context, body.id)
    return Reply(
        {**_render(api, written.value.webhook), "signing_secret": written.value.signing_secret},
        position=written.position,
    )


@action("/webhooks.update", permission=Permission.MANAGE, body=UpdateWebhook, returns=WebhookSchema)
async def update(api: ApiContext, request: ActionRequest[UpdateWebhook]) -> Reply:
    """Change a webhook. Absent fields stay as they are."""
    _require_delivery(api)
    body = request.body
    changes = WebhookChanges(
        url=body.url,
        name=body.name,
        events=body.events,
        headers=body.headers,
        signature_key=body.signature_key,
        status=body.status,
    )
    written = await api.commands.webhooks.update(body.id, changes)
    return Reply(_render(api, written.value), position=written.position)


@action("/webhooks.unsubscribe", permission=Permission.MANAGE, body=WebhookReference, returns=WebhookSchema)
async def unsubscribe(api: ApiContext, request: ActionRequest[WebhookReference]) -> Reply:
    """Stop the deliveries to a webhook. It is kept and can be subscribed again."""
    written = await api.commands.webhooks.unsubscribe(request.body.id)
    return Reply(_render(api, written.value), position=written.position)


@action("/webhooks.delete", permission=Permission.MANAGE, body=WebhookReference, status=204)
async def delete(api: ApiContext, request: ActionRequest[WebhookReference]) -> Reply:
    """Delete a webhook, its queued deliveries and its recent attempts."""
    position = await api.commands.webhooks.delete(request.body.id)
    await api.queue.drop_webhook(request.body.id)
    await api.queue.forget_attempts(request.body.id)
    return Reply(position=position)


@action("/webhooks.info", permission=Permission.READ, body=WebhookReference, returns=WebhookSchema)
async def info(api: ApiContext, request: ActionRequest[WebhookReference]) -> Reply:
    """One webhook."""
    return Reply(_render(api, await find_webhook(api, request.body.id)))


@action("/webhooks.list", permission=Permission.READ, body=EmptyBody, returns=ListSchema[WebhookSchema])
async def list_(api: ApiContext, _request: ActionRequest[EmptyBody]) -> Reply:
    """All webhooks, including unsubscribed ones."""
    return Reply({"data": [_render(api, webhook) for webhook in await api.store.webhooks()]})


@action(
    "/webhooks.rotate-secret",
    "/webhooks.rotateSecret",
    permission=Permission.MANAGE,
    body=WebhookReference,
    returns=SignedWebhookSchema,
)
async def rotate_secret(api: ApiContext, request: ActionRequest[WebhookReference]) -> Reply:
    """Create a new signing secret, which only this response contains. The previous secret keeps signing as well."""
    written = await api.commands.webhooks.rotate_secret(request.body.id)
    return Reply(
        {**_render(api, written.value.webhook), "signing_secret": written.value.signing_secret},
        position=written.position,
    )


@action(
    "/webhooks.dead-letters",
    "/webhooks.deadLetters",
    permission=Permission.READ,
    body=ListDeadDeliveries,
    returns=PageSchema[DeadDeliverySchema],
)
async def dead_deliveries(api: ApiContext, request: ActionRequest[ListDeadDeliveries]) -> Reply:
    """A page of dead deliveries that are not being replayed, newest first, with the reason."""
    body = request.body
    page = await api.store.dead_deliveries(
        webhook_id=body.id, cursor=body.cursor, page_size=page_size(body.page_size or AT_ONCE_MAX)
    )
    return Reply(page_body(page, [_render_dead(dead) for dead in page.items if isinstance(dead, DeadDelivery)]))


@action("/webhooks.replay", permission=Permission.MANAGE, body=ReplayDeadDeliveries, returns=ReplayResultSchema)
async def replay(api: ApiContext, request: ActionRequest[ReplayDeadDeliveries]) -> Reply:
    """Send dead deliveries again, with the same ids and the same bytes."""
    body = request.body
    if (body.delivery_id is None) == (body.id is None):
        raise Refused("name one delivery_id, or the id of a webhook", field="delivery_id")
    dead = api.commands.dead_deliveries
    if body.delivery_id is not None:
        replayed = await dead.replay(api.queue, body.delivery_id)
    else:
        replayed = await dead.replay_of(api.queue, body.id or "")
    return Reply({"replayed": replayed.deliveries}, more_positions=replayed.positions)


def _render(api: ApiContext, webhook: Webhook) -> dict[str, object]:
    try:
        headers = api.commands.webhooks.masked_headers(webhook)
    except Refused as error:  # the sealing key is missing: return the rest, so that new headers can be set
        log.warning("webhook.headers_unreadable", webhook=webhook.id, error=str(error))
        headers = {}
    return render_webhook(webhook, headers)


def _render_dead(dead: DeadDelivery) -> dict[str, object]:
    return {
        "delivery_id": dead.delivery_id,
        "webhook_id": dead.webhook_id,
        "event_id": dead.event_id,
        "event": dead.kind,
        "lane": dead.lane,
        "attempts": dead.attempts,
        "reason": dead.reason,
        "died_at": timestamp(dead.died_at_ms),
        "body": dead.body,
    }


RESOURCE = Resource(
    name="webhooks",
    component="api-admin",
    actions=(
        subscribe,
        update,
        unsubscribe,
        delete,
        info,
        list_,
        stats,
        attempts,
        test,
        rotate_secret,
        dead_deliveries,
        replay,
    ),
)


def _require_delivery(api: ApiContext) -> None:
    """Raises `Conflict` if a component that delivery needs is not enabled, as in the original Airy."""
    services = api.health.services()
    disabled = [name for name in DELIVERY_COMPONENTS if name in services and not services[name]["enabled"]]
    if disabled:
        raise Conflict(f"webhooks are not delivered: enable {' and '.join(disabled)} first")
