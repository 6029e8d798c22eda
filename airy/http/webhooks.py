"""`/webhooks.*`"""

from typing import Annotated

import structlog
from msgspec import Meta, Struct

from airy.actors.commands import Conflict, Subscription, Unknown
from airy.actors.commands.dead import AT_ONCE_MAX
from airy.errors import Refused
from airy.http import shapes
from airy.http.action import Answer, Call, Nothing, action
from airy.http.auth import Permission
from airy.http.bodies import Id, LongText, Text
from airy.http.paging import envelope
from airy.http.ports import Edge
from airy.model.dead import DeadDelivery
from airy.model.entity import Webhook, WebhookStatus
from airy.model.render import render_webhook, timestamp
from airy.secret import Secret
from airy.store.cursors import page_size

EVENTS_MAX = 64

log = structlog.get_logger("airy.http")

Events = Annotated[list[Text], Meta(max_length=EVENTS_MAX)]


DELIVERING = ("webhook-publisher", "webhook-consumer")


class Subscribe(Struct, frozen=True):
    url: LongText
    id: Id | None = None
    name: Text | None = None
    events: Events | None = None
    headers: dict[str, LongText] | None = None
    signature_key: Secret | None = None


class Update(Struct, frozen=True):
    id: Id
    url: LongText | None = None
    name: Text | None = None
    events: Events | None = None
    headers: dict[str, LongText] | None = None
    signature_key: Secret | None = None
    status: WebhookStatus | None = None


class Reference(Struct, frozen=True):
    id: Id


class DeadLetters(Struct, frozen=True):
    id: Id | None = None  # of a webhook; none: of all
    cursor: Text | None = None
    page_size: int | None = None  # none: as many as are replayed at once


class Replay(Struct, frozen=True):
    """One dead delivery by its own id, or those of a webhook."""

    delivery_id: Text | None = None
    id: Id | None = None


@action("/webhooks.subscribe", permission=Permission.MANAGE, body=Subscribe, returns=shapes.SignedWebhook)
async def subscribe(edge: Edge, call: Call[Subscribe]) -> Answer:
    """Send events to a URL from now on. The signing secret is in this answer and in no other."""
    _delivers(edge)
    body = call.body
    given = Subscription(
        url=body.url,
        name=body.name,
        events=body.events,
        headers=body.headers,
        signature_key=body.signature_key,
    )
    done = await edge.commands.webhooks.subscribe(given, call.cause, body.id)
    return Answer(
        {**_render(edge, done.value.webhook), "signing_secret": done.value.signing_secret},
        position=done.position,
    )


@action("/webhooks.update", permission=Permission.MANAGE, body=Update, returns=shapes.Webhook)
async def update(edge: Edge, call: Call[Update]) -> Answer:
    """Change a webhook; what is not given stays."""
    _delivers(edge)
    body = call.body
    given = Subscription(
        url=body.url,
        name=body.name,
        events=body.events,
        headers=body.headers,
        signature_key=body.signature_key,
        status=body.status,
    )
    done = await edge.commands.webhooks.update(body.id, given)
    return Answer(_render(edge, done.value), position=done.position)


@action("/webhooks.unsubscribe", permission=Permission.MANAGE, body=Reference, returns=shapes.Webhook)
async def unsubscribe(edge: Edge, call: Call[Reference]) -> Answer:
    """Stop sending; the webhook is kept and can be subscribed again."""
    done = await edge.commands.webhooks.unsubscribe(call.body.id)
    return Answer(_render(edge, done.value), position=done.position)


@action("/webhooks.delete", permission=Permission.MANAGE, body=Reference, status=204)
async def delete(edge: Edge, call: Call[Reference]) -> Answer:
    """Forget a webhook and what is still to be sent to it."""
    position = await edge.commands.webhooks.delete(call.body.id)
    await edge.queue.drop_webhook(call.body.id)
    return Answer(position=position)


@action("/webhooks.info", permission=Permission.READ, body=Reference, returns=shapes.Webhook)
async def info(edge: Edge, call: Call[Reference]) -> Answer:
    """One webhook."""
    return Answer(_render(edge, await _known(edge, call.body.id)))


@action("/webhooks.list", permission=Permission.READ, body=Nothing, returns=shapes.Data[shapes.Webhook])
async def list_(edge: Edge, _call: Call[Nothing]) -> Answer:
    """All webhooks, unsubscribed ones too."""
    return Answer({"data": [_render(edge, webhook) for webhook in await edge.store.webhooks()]})


@action(
    "/webhooks.rotate-secret",
    "/webhooks.rotateSecret",
    permission=Permission.MANAGE,
    body=Reference,
    returns=shapes.SignedWebhook,
)
async def rotate_secret(edge: Edge, call: Call[Reference]) -> Answer:
    """A new signing secret, shown once; the previous one keeps signing beside it."""
    done = await edge.commands.webhooks.rotate_secret(call.body.id)
    return Answer(
        {**_render(edge, done.value.webhook), "signing_secret": done.value.signing_secret},
        position=done.position,
    )


@action(
    "/webhooks.dead-letters",
    "/webhooks.deadLetters",
    permission=Permission.READ,
    body=DeadLetters,
    returns=shapes.Page[shapes.DeadLetter],
)
async def dead_letters(edge: Edge, call: Call[DeadLetters]) -> Answer:
    """Deliveries that were given up and are not being made again, newest first, with the reason."""
    body = call.body
    page = await edge.store.dead_deliveries(
        webhook_id=body.id, cursor=body.cursor or None, page_size=page_size(body.page_size or AT_ONCE_MAX)
    )
    return Answer(envelope(page, [_render_dead(dead) for dead in page.items if isinstance(dead, DeadDelivery)]))


@action("/webhooks.replay", permission=Permission.MANAGE, body=Replay, returns=shapes.Replayed)
async def replay(edge: Edge, call: Call[Replay]) -> Answer:
    """Send dead deliveries again: the same ids, the same bytes."""
    body = call.body
    if (body.delivery_id is None) == (body.id is None):
        raise Refused("name one delivery_id, or the id of a webhook", field="delivery_id")
    dead = edge.commands.dead
    if body.delivery_id is not None:
        done = await dead.replay(edge.queue, body.delivery_id)
    else:
        done = await dead.replay_of(edge.queue, body.id or "")
    return Answer({"replayed": done.deliveries}, also=done.positions)


async def _known(edge: Edge, webhook_id: str) -> Webhook:
    webhook = await edge.store.webhook(webhook_id)
    if webhook is None:
        raise Unknown(f"there is no webhook {webhook_id}", field="id")
    return webhook


def _render(edge: Edge, webhook: Webhook) -> dict[str, object]:
    try:
        headers = edge.commands.webhooks.masked_headers(webhook)
    except Refused as error:  # the sealing key is gone: show the rest, so that new headers can be set
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


ACTIONS = (subscribe, update, unsubscribe, delete, info, list_, rotate_secret, dead_letters, replay)


def _delivers(edge: Edge) -> None:
    """Raises `Conflict` where nothing would ever be delivered, as the original does."""
    services = edge.status.services()
    off = [name for name in DELIVERING if name in services and not services[name]["enabled"]]
    if off:
        raise Conflict(f"no webhook would be delivered here: enable {' and '.join(off)} first")
