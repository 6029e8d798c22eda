"""The HTTP request of a delivery: signatures and headers. Pure, except for the sealer's cipher.

A webhook's secrets are unsealed once per version of its record, not once per delivery.
"""

import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from airy import topics, trace
from airy.errors import Refused
from airy.model.entity import Webhook
from airy.queue.api import Job
from airy.seal import Sealer, seal_context
from airy.webhooks import signing

USER_AGENT = "Airy/1.0"
HEADERS_MAX = 32
HEADER_CHARS_MAX = 4_096
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
RESERVED_HEADERS = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "accept-encoding",
        "x-airy-content-signature",
        "x-airy-position",
        "traceparent",
    }
)
REDACTED = "***"
REDACT_CHARS_MIN = 6  # shorter values are no secrets, and redacting them would make a response unreadable


class DeliveryTarget(Struct, frozen=True):
    """A webhook with its secrets in clear. Never logged, never stored."""

    url: str
    headers: dict[str, str]
    keys: tuple[bytes, ...] = ()  # Standard Webhooks keys, newest first
    signature_key: str | None = None

    def __repr__(self) -> str:
        return f"DeliveryTarget({self.url!r})"

    def redact(self, text: str) -> str:
        """The text without the secrets that were sent, because an endpoint may echo them."""
        for value in (*self.headers.values(), self.signature_key or ""):
            if len(value) >= REDACT_CHARS_MIN and value not in (USER_AGENT, "application/json"):
                text = text.replace(value, REDACTED)
        return text


def check_headers(headers: Mapping[str, str]) -> None:
    """Checks the headers of a new or updated webhook. Raises `Refused` naming the header."""
    if len(headers) > HEADERS_MAX:
        raise Refused(f"at most {HEADERS_MAX} headers", field="headers")
    for name, value in headers.items():
        if not NAME.fullmatch(name) or not VALUE.fullmatch(value) or len(name) + len(value) > HEADER_CHARS_MAX:
            raise Refused(
                f"not a header, or over {HEADER_CHARS_MAX} characters: {name[:64]!r}", field=f"headers.{name[:64]}"
            )
        if name.lower() in RESERVED_HEADERS or name.lower().startswith("webhook-"):
            raise Refused(f"header {name} is reserved: choose another name", field=f"headers.{name}")


def secret_place(webhook_id: str, field: str) -> str:
    """The sealing context of `headers`, `signature_key` or `secrets` of a webhook."""
    return seal_context(topics.WEBHOOKS.name, webhook_id, field)


def open_target(webhook: Webhook, sealer: Sealer) -> DeliveryTarget:
    """Raises `Refused` if a secret cannot be unsealed or used."""

    def unseal(sealed: str, field: str) -> str:
        return sealer.unseal(sealed, secret_place(webhook.id, field))

    headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT}
    if webhook.headers is not None:
        headers = _merged(headers, _decode(unseal(webhook.headers, "headers")))
    return DeliveryTarget(
        webhook.url,
        headers,
        tuple(signing.secret_key(unseal(sealed, "secrets")) for sealed in webhook.secrets),
        None if webhook.signature_key is None else unseal(webhook.signature_key, "signature_key"),
    )


def request_headers(target: DeliveryTarget, job: Job, now_ms: int) -> dict[str, str]:
    entry = job.entry
    now_s = now_ms // 1000
    headers = {
        **target.headers,
        "webhook-id": entry.event_id,
        "webhook-timestamp": str(now_s),
    }
    if entry.position:
        headers["X-Airy-Position"] = entry.position
    traced = trace.parse(entry.trace) if entry.trace else None
    if traced is not None:
        headers[trace.HEADER] = traced.child(f"{job.id}:{job.attempt}").header
    if target.keys:
        headers["webhook-signature"] = signing.standard(target.keys, entry.event_id, now_s, entry.body)
    if target.signature_key:
        headers["X-Airy-Content-Signature"] = signing.content(target.signature_key, entry.body)
    return headers


def _decode(text: str) -> dict[str, str]:
    try:
        headers = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise Refused("the webhook's headers are not a JSON object of texts", field="headers") from error
    check_headers(headers)
    return headers


def _merged(defaults: Mapping[str, str], configured: Mapping[str, str]) -> dict[str, str]:
    """Configured headers replace defaults; names are compared without case."""
    taken = {name.lower() for name in configured}
    return {**{name: value for name, value in defaults.items() if name.lower() not in taken}, **configured}
