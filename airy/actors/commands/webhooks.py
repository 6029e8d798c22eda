"""Webhook subscriptions. Secrets leave this module sealed, except the signing secret in the answer that
creates it.
"""

from collections.abc import Callable, Mapping, Sequence
from secrets import token_bytes

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from airy import topics
from airy.actors.commands.outcome import Unknown
from airy.actors.commands.writer import Cause, Done, Writer
from airy.actors.webhooks.matching import check_events, subscribed_from
from airy.actors.webhooks.request import check_headers
from airy.actors.webhooks.signing import secret_text
from airy.addresses import ANYWHERE, Reach, check_url
from airy.bus.record import Position
from airy.errors import Refused
from airy.model.entity import Webhook, WebhookStatus
from airy.seal import Sealer, place
from airy.secret import MASK, Secret
from airy.store.api import Store

SECRET_BYTES = 32
SECRETS_MAX = 2  # the one in use, and the one being rotated out


class Subscription(Struct, frozen=True, kw_only=True):
    """What a caller says about a webhook; None is left as it is."""

    url: str | None = None
    name: str | None = None
    events: Sequence[str] | None = None
    headers: Mapping[str, str] | None = None
    signature_key: Secret | None = None
    status: WebhookStatus | None = None


class Signed(Struct, frozen=True):
    webhook: Webhook
    signing_secret: str


class WebhookCommands:
    def __init__(
        self,
        writer: Writer,
        store: Store,
        sealer: Sealer,
        *,
        reach: Reach = ANYWHERE,
        random_bytes: Callable[[int], bytes] = token_bytes,
    ) -> None:
        self._reach = reach
        self._writer = writer
        self._store = store
        self._sealer = sealer
        self._random_bytes = random_bytes

    async def subscribe(self, given: Subscription, cause: Cause, webhook_id: str | None = None) -> Done[Signed]:
        """A known id is overwritten completely."""
        now_ms = self._writer.now_ms()
        webhook_id = webhook_id or self._writer.id_for(cause, "webhook")
        secret = self._new_secret()
        blank = Webhook(
            id=webhook_id,
            url="",
            status="Subscribed",
            secrets=(self._seal(webhook_id, "secrets", secret),),
            subscribed_at_ms=now_ms,
            since=subscribed_from(await self._writer.ends()),
        )
        if given.url is None:
            raise Refused("url is required", field="url")
        done = await self._put(self._with(blank, given))
        return Done(Signed(done.value, secret), done.position)

    async def update(self, webhook_id: str, given: Subscription) -> Done[Webhook]:
        """Subscribed again, it gets what happens from now on."""
        before = await self._known(webhook_id)
        webhook = self._with(before, given)
        if (before.status, webhook.status) == ("Unsubscribed", "Subscribed"):
            since = subscribed_from(await self._writer.ends())
            webhook = replace(webhook, since=since, disabled_reason=None)
        return await self._put(webhook)

    async def unsubscribe(self, webhook_id: str) -> Done[Webhook]:
        return await self._put(replace(await self._known(webhook_id), status="Unsubscribed"))

    async def switch_off(self, webhook_id: str, reason: str) -> None:
        """For endpoints that are gone: nothing more is sent until somebody subscribes it again."""
        webhook = await self._store.webhook(webhook_id)
        if webhook is not None and webhook.status == "Subscribed":
            await self._put(replace(webhook, status="Unsubscribed", disabled_reason=reason))

    async def delete(self, webhook_id: str) -> Position:
        await self._known(webhook_id)
        return await self._writer.put(topics.WEBHOOKS, webhook_id, None)

    async def rotate_secret(self, webhook_id: str) -> Done[Signed]:
        """Deliveries are signed with the new and the previous secret, so receivers can change over in their
        own time.
        """
        webhook = await self._known(webhook_id)
        secret = self._new_secret()
        secrets = (self._seal(webhook_id, "secrets", secret), *webhook.secrets)[:SECRETS_MAX]
        done = await self._put(replace(webhook, secrets=secrets))
        return Done(Signed(done.value, secret), done.position)

    def masked_headers(self, webhook: Webhook) -> dict[str, str]:
        """Its headers without their values, which is where keys to the receiver are kept. Raises `Refused`
        without the sealing key.
        """
        return dict.fromkeys(self._headers(webhook), MASK)

    def _headers(self, webhook: Webhook) -> dict[str, str]:
        if webhook.headers is None:
            return {}
        text = self._sealer.unseal(webhook.headers, place(topics.WEBHOOKS.name, webhook.id, "headers"))
        return msgspec.json.decode(text, type=dict[str, str])

    def _with(self, webhook: Webhook, given: Subscription) -> Webhook:
        changes: dict[str, object] = {}
        if given.url is not None:
            check_url(given.url, self._reach)
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
        return self._sealer.seal(text, place(topics.WEBHOOKS.name, webhook_id, field))

    async def _put(self, webhook: Webhook) -> Done[Webhook]:
        webhook = replace(webhook, updated_at_ms=self._writer.now_ms())
        return Done(webhook, await self._writer.put(topics.WEBHOOKS, webhook.id, webhook))

    async def _known(self, webhook_id: str) -> Webhook:
        webhook = await self._store.webhook(webhook_id)
        if webhook is None:
            raise Unknown(f"there is no webhook {webhook_id}", field="id")
        return webhook


def merged_headers(known: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """`given`, where a masked value stands for the one we know: forms send back what they were shown."""
    check_headers(given)
    merged = {}
    for name, value in given.items():
        if value != MASK:
            merged[name] = value
        elif name in known:
            merged[name] = known[name]
        else:
            raise Refused(f"the value of {name} is masked and none is known", field=f"headers.{name}")
    return merged
