"""Webhook subscriptions. Secrets leave this module sealed, except the signing secret in the answer that creates it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from airy import topics
from airy.bus.record import Position
from airy.commands.entity_writer import EntityWriter
from airy.commands.errors import NotFound
from airy.commands.writer import RequestContext, Writer, Written
from airy.egress import UNRESTRICTED, EgressPolicy, check_url
from airy.entered_text import trimmed
from airy.errors import Refused
from airy.model.entity import Webhook, WebhookStatus
from airy.seal import Sealer, seal_context
from airy.secret import MASK, Secret
from airy.store.api import EntityReader
from airy.webhooks.matching import check_events, subscription_start
from airy.webhooks.request import check_headers
from airy.webhooks.signing import secret_text

SECRET_BYTES = 32
SECRETS_MAX = 2  # the one in use, and the one being rotated out


class WebhookChanges(Struct, frozen=True, kw_only=True):
    """The fields of a webhook that a request sets; None keeps the current value."""

    url: str | None = None
    name: str | None = None
    events: Sequence[str] | None = None
    headers: Mapping[str, str] | None = None
    signature_key: Secret | None = None
    status: WebhookStatus | None = None


class WebhookWithSecret(Struct, frozen=True):
    webhook: Webhook
    signing_secret: str


class WebhookCommands:
    def __init__(
        self,
        writer: Writer,
        store: EntityReader,
        sealer: Sealer,
        *,
        egress_policy: EgressPolicy = UNRESTRICTED,
    ) -> None:
        self._egress_policy = egress_policy
        self._writer = writer
        self._store = store
        self._entities = EntityWriter(writer, store)
        self._sealer = sealer

    async def subscribe(
        self, given: WebhookChanges, context: RequestContext, webhook_id: str | None = None
    ) -> Written[WebhookWithSecret]:
        """An existing id is overwritten completely."""
        webhook_id = webhook_id or self._writer.id_for(context, "webhook")
        secret = self._new_secret()
        sealed_secret = self._seal(webhook_id, "secrets", secret)
        if given.url is None:
            raise Refused("url is required", field="url")

        async def subscribed(_known: Webhook | None) -> Webhook:
            blank = Webhook(
                id=webhook_id,
                url="",
                status="Subscribed",
                secrets=(sealed_secret,),
                subscribed_at_ms=self._writer.now_ms(),
                since=subscription_start(await self._writer.end_offsets()),
            )
            return self._with(blank, given)

        done = await self._entities.put(topics.WEBHOOKS, webhook_id, self._store.webhook, subscribed)
        return Written(WebhookWithSecret(done.value, secret), done.position)

    async def update(self, webhook_id: str, given: WebhookChanges) -> Written[Webhook]:
        """A webhook subscribed again receives changes from then on."""

        async def updated(before: Webhook) -> Webhook:
            webhook = self._with(before, given)
            if (before.status, webhook.status) == ("Unsubscribed", "Subscribed"):
                since = subscription_start(await self._writer.end_offsets())
                webhook = replace(webhook, since=since, disabled_reason=None)
            return webhook

        return await self._update(webhook_id, updated)

    async def unsubscribe(self, webhook_id: str) -> Written[Webhook]:
        async def unsubscribed(webhook: Webhook) -> Webhook:
            return replace(webhook, status="Unsubscribed")

        return await self._update(webhook_id, unsubscribed)

    async def disable_webhook(self, webhook_id: str, reason: str) -> None:
        """Disable a webhook whose endpoint is gone: nothing is sent until it is subscribed again."""

        async def disabled(webhook: Webhook) -> Webhook:
            if webhook.status != "Subscribed":
                raise NotFound(f"webhook {webhook_id} is not subscribed", field="id")
            return replace(webhook, status="Unsubscribed", disabled_reason=reason)

        with suppress(NotFound):  # unsubscribed or deleted meanwhile
            await self._update(webhook_id, disabled)

    async def delete(self, webhook_id: str) -> Position:
        return await self._entities.delete(topics.WEBHOOKS, webhook_id, self._known)

    async def rotate_secret(self, webhook_id: str) -> Written[WebhookWithSecret]:
        """Deliveries are signed with the new and the previous secret, so that receivers can switch without a gap."""
        secret = self._new_secret()

        async def rotated(webhook: Webhook) -> Webhook:
            secrets = (self._seal(webhook.id, "secrets", secret), *webhook.secrets)
            return replace(webhook, secrets=secrets[:SECRETS_MAX])

        done = await self._update(webhook_id, rotated)
        return Written(WebhookWithSecret(done.value, secret), done.position)

    def masked_headers(self, webhook: Webhook) -> dict[str, str]:
        """Its headers with masked values: they may hold keys. Raises `Refused` without the sealing key."""
        return dict.fromkeys(self._headers(webhook), MASK)

    def _headers(self, webhook: Webhook) -> dict[str, str]:
        if webhook.headers is None:
            return {}
        text = self._sealer.unseal(webhook.headers, seal_context(topics.WEBHOOKS.name, webhook.id, "headers"))
        return msgspec.json.decode(text, type=dict[str, str])

    def _with(self, webhook: Webhook, given: WebhookChanges) -> Webhook:
        changes: dict[str, object] = {}
        if given.url is not None:
            check_url(given.url, self._egress_policy)
            changes["url"] = given.url
        if given.name is not None:
            changes["name"] = given.name
        if given.events is not None:
            changes["events"] = check_events(given.events)
        if given.headers is not None:
            headers = merged_headers(self._headers(webhook), given.headers)
            changes["headers"] = (
                self._seal(webhook.id, "headers", msgspec.json.encode(headers).decode()) if headers else None
            )
        if given.signature_key is not None:
            key = given.signature_key.reveal()
            changes["signature_key"] = self._seal(webhook.id, "signature_key", key) if key else None
        if given.status is not None:
            changes["status"] = given.status
        return replace(webhook, **changes)

    def _new_secret(self) -> str:
        return secret_text(self._writer.random_bytes(SECRET_BYTES))

    def _seal(self, webhook_id: str, field: str, text: str) -> str:
        return self._sealer.seal(text, seal_context(topics.WEBHOOKS.name, webhook_id, field))

    async def _update(self, webhook_id: str, intent: Callable[[Webhook], Awaitable[Webhook]]) -> Written[Webhook]:
        return await self._entities.update(topics.WEBHOOKS, webhook_id, self._known, intent)

    async def _known(self, webhook_id: str) -> Webhook:
        webhook = await self._store.webhook(webhook_id)
        if webhook is None:
            raise NotFound(f"there is no webhook {webhook_id}", field="id")
        return webhook


def merged_headers(known: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """`given`, with masked values replaced by the known ones: forms send back what they were shown."""
    given = {name: trimmed(value) for name, value in given.items()}
    check_headers(given)
    merged = {}
    for name, value in given.items():
        if value != MASK:
            merged[name] = value
        elif name in known:
            merged[name] = known[name]
        else:
            raise Refused(f"the value of {name} is masked and no value is stored", field=f"headers.{name}")
    return merged
