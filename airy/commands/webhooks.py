"""Webhook subscriptions. Secrets leave this module sealed, except the signing secret in the answer that creates it."""

from collections.abc import Callable, Mapping, Sequence
from secrets import token_bytes

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from airy import topics
from airy.bus.record import Position
from airy.commands.errors import NotFound
from airy.commands.writer import RequestContext, Writer, Written
from airy.egress import UNRESTRICTED, EgressPolicy, check_url
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
        random_bytes: Callable[[int], bytes] = token_bytes,
    ) -> None:
        self._egress_policy = egress_policy
        self._writer = writer
        self._store = store
        self._sealer = sealer
        self._random_bytes = random_bytes

    async def subscribe(
        self, given: WebhookChanges, context: RequestContext, webhook_id: str | None = None
    ) -> Written[WebhookWithSecret]:
        """An existing id is overwritten completely."""
        now_ms = self._writer.now_ms()
        webhook_id = webhook_id or self._writer.id_for(context, "webhook")
        secret = self._new_secret()
        blank = Webhook(
            id=webhook_id,
            url="",
            status="Subscribed",
            secrets=(self._seal(webhook_id, "secrets", secret),),
            subscribed_at_ms=now_ms,
            since=subscription_start(await self._writer.end_offsets()),
        )
        if given.url is None:
            raise Refused("url is required", field="url")
        done = await self._put(self._with(blank, given))
        return Written(WebhookWithSecret(done.value, secret), done.position)

    async def update(self, webhook_id: str, given: WebhookChanges) -> Written[Webhook]:
        """A webhook subscribed again receives changes from then on."""
        before = await self._known(webhook_id)
        webhook = self._with(before, given)
        if (before.status, webhook.status) == ("Unsubscribed", "Subscribed"):
            since = subscription_start(await self._writer.end_offsets())
            webhook = replace(webhook, since=since, disabled_reason=None)
        return await self._put(webhook)

    async def unsubscribe(self, webhook_id: str) -> Written[Webhook]:
        return await self._put(replace(await self._known(webhook_id), status="Unsubscribed"))

    async def disable_webhook(self, webhook_id: str, reason: str) -> None:
        """Disable a webhook whose endpoint is gone: nothing is sent until it is subscribed again."""
        webhook = await self._store.webhook(webhook_id)
        if webhook is not None and webhook.status == "Subscribed":
            await self._put(replace(webhook, status="Unsubscribed", disabled_reason=reason))

    async def delete(self, webhook_id: str) -> Position:
        await self._known(webhook_id)
        return await self._writer.put_entity(topics.WEBHOOKS, webhook_id, None)

    async def rotate_secret(self, webhook_id: str) -> Written[WebhookWithSecret]:
        """Deliveries are signed with the new and the previous secret, so that receivers can switch without a gap."""
        webhook = await self._known(webhook_id)
        secret = self._new_secret()
        secrets = (self._seal(webhook_id, "secrets", secret), *webhook.secrets)[:SECRETS_MAX]
        done = await self._put(replace(webhook, secrets=secrets))
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
        return secret_text(self._random_bytes(SECRET_BYTES))

    def _seal(self, webhook_id: str, field: str, text: str) -> str:
        return self._sealer.seal(text, seal_context(topics.WEBHOOKS.name, webhook_id, field))

    async def _put(self, webhook: Webhook) -> Written[Webhook]:
        webhook = replace(webhook, updated_at_ms=self._writer.now_ms())
        return Written(webhook, await self._writer.put_entity(topics.WEBHOOKS, webhook.id, webhook))

    async def _known(self, webhook_id: str) -> Webhook:
        webhook = await self._store.webhook(webhook_id)
        if webhook is None:
            raise NotFound(f"there is no webhook {webhook_id}", field="id")
        return webhook


def merged_headers(known: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """`given`, with masked values replaced by the known ones: forms send back what they were shown."""
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
