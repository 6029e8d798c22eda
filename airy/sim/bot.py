"""The demo bot: an external program with a webhook endpoint that replies to every contact through the API.

It uses documented interfaces only. It verifies both signatures with its own code, because shared code would hide a
defect. The delivery's id is the idempotency key of the reply, so a repeated delivery gets one reply.
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from aiohttp import web
from msgspec import Struct

from airy.api_client import ApiClient
from airy.clock import Clock
from airy.errors import Refused, Unavailable
from airy.lifecycle import Lifecycle
from airy.model.ids import derive

PATH = "/webhook"
NAME = "demo bot"
BODY_BYTES_MAX = 2_097_152
TOLERANCE_S = 300
STOP_S = 2.0
SIGNATURE_KEY = "demo-signature-key"  # for requests on loopback within one process

log = structlog.get_logger("airy.sim")


class Subscribed(Struct, frozen=True):
    signing_secret: str


class Bot:
    """An actor. `replied` counts replies; the endpoint listens on a free port of loopback while it runs."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self.replied = 0
        self._client = client
        self._clock = clock
        self._secret = ""

    async def run(self, lifecycle: Lifecycle) -> None:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post(PATH, self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self._secret = await self._subscribe(runner.addresses[0][1])
            lifecycle.ready()
            with lifecycle.waiting():
                await lifecycle.draining.wait()
        finally:
            await runner.cleanup()

    async def _subscribe(self, port: int) -> str:
        """Always with the same id, so that a restart updates the subscription instead of adding one."""
        body = {
            "id": derive("demo", "bot"),
            "url": f"http://127.0.0.1:{port}{PATH}",
            "name": NAME,
            "events": ["message.created"],
            "signature_key": SIGNATURE_KEY,
        }
        return (await self._client.call("/webhooks.subscribe", body, Subscribed)).signing_secret

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        reason = verify(request.headers, body, self._secret, SIGNATURE_KEY, self._clock.now_ms() // 1000)
        if reason:
            log.warning("bot.delivery_rejected", reason=reason)
            return web.json_response({"message": reason}, status=401)
        message_body = reply_to(msgspec.json.decode(body))
        if message_body is None:
            return web.Response(status=204)
        return await self._send(message_body, request.headers["webhook-id"])

    async def _send(self, message_body: dict[str, object], key: str) -> web.Response:
        headers = {"Idempotency-Key": key}
        try:
            await self._client.call("/messages.send", message_body, dict[str, Any], headers=headers)
        except Unavailable as error:
            log.info("bot.send_unavailable", error=str(error))
            return web.json_response({"message": str(error)}, status=503)
        except Refused as error:
            log.warning("bot.send_refused", error=str(error))
            return web.Response(status=204)  # a retry would be refused too
        self.replied += 1
        return web.Response(status=204)


def reply_to(event: dict[str, Any]) -> dict[str, object] | None:
    """The body of `messages.send`; None for outbound messages and standby."""
    payload = event.get("payload") or {}
    message = payload.get("message") or {}
    if event.get("type") != "message.created" or not message.get("from_contact"):
        return None
    if ((message.get("metadata") or {}).get("source") or {}).get("standby"):
        return None
    return {
        "conversation_id": payload["conversation_id"],
        "message": {"canonical": {"type": "text", "text": reply_text(text_of(message))}},
    }


def text_of(message: dict[str, Any]) -> str:
    """The text of a contact's message, whatever the provider; empty for other content."""
    parts = message.get("canonical")
    texts = [part.get("text") for part in (parts if isinstance(parts, list) else ()) if isinstance(part, dict)]
    return next((text for text in texts if isinstance(text, str)), "")


def reply_text(text: str) -> str:
    words = text.strip()
    if not words:
        return "Thank you, I got that. I only read text, though."
    if words.endswith("?"):
        return f"Good question: “{words[:200]}” A colleague will answer soon."
    return f"You said: {words[:200]}"


def verify(headers: Mapping[str, str], body: bytes, secret: str, key: str, now_s: int) -> str | None:
    """The reason to reject a delivery, or None. One of several standard signatures must match."""
    message_id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not at.isdigit() or abs(now_s - int(at)) > TOLERANCE_S:
        return "webhook-id or webhook-timestamp is missing or too old"
    signed = f"{message_id}.{at}.".encode() + body
    mac = hmac.digest(b64decode(secret.removeprefix("whsec_")), signed, "sha256")
    expected = f"v1,{b64encode(mac).decode()}"
    signatures = headers.get("webhook-signature", "").split()
    if not any(hmac.compare_digest(expected.encode(), each.encode()) for each in signatures):
        return "webhook-signature does not match"
    content = hmac.digest(key.encode(), body, "sha256").hex()
    if not hmac.compare_digest(content.encode(), headers.get("X-Airy-Content-Signature", "").encode()):
        return "X-Airy-Content-Signature does not match"
    return None
