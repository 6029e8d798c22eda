"""A bot as somebody outside would write it: a webhook endpoint that answers every contact through the API.

It knows Airy only by what is documented. Both signatures are checked here from scratch, because a
demonstration that shared the sender's code would prove nothing. The delivery's id is the idempotency key of
the answer, so a delivery that comes twice is answered once.
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import anyio
import msgspec
import structlog
from aiohttp import web
from msgspec import Struct

from airy.client import Client
from airy.clock import Clock
from airy.errors import Refused, Unavailable
from airy.model.ids import derive

PATH = "/webhook"
NAME = "demo bot"
BODY_BYTES_MAX = 2_097_152
TOLERANCE_S = 300
STOP_S = 2.0
SIGNATURE_KEY = "demo-signature-key"  # signs on loopback between two halves of one process

log = structlog.get_logger("airy.sim")


class Lifetime(Protocol):
    """What an actor here needs from whoever supervises it."""

    @property
    def draining(self) -> anyio.Event: ...
    def ready(self) -> None: ...
    def waiting(self) -> AbstractContextManager[None]: ...


class Subscribed(Struct, frozen=True):
    signing_secret: str


class Bot:
    """An actor. `answered` counts; the endpoint listens on a free port of loopback while it runs."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.answered = 0
        self._client = client
        self._clock = clock
        self._secret = ""

    async def run(self, life: Lifetime) -> None:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post(PATH, self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self._secret = await self._subscribe(runner.addresses[0][1])
            life.ready()
            with life.waiting():
                await life.draining.wait()
        finally:
            await runner.cleanup()

    async def _subscribe(self, port: int) -> str:
        """Under the same id each time, so that a restart moves the subscription instead of adding one."""
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
        wrong = verify(request.headers, body, self._secret, SIGNATURE_KEY, self._clock.now_ms() // 1000)
        if wrong:
            log.warning("bot.denied", reason=wrong)
            return web.json_response({"message": wrong}, status=401)
        answer = answer_to(msgspec.json.decode(body))
        if answer is None:
            return web.Response(status=204)
        return await self._send(answer, request.headers["webhook-id"])

    async def _send(self, answer: dict[str, object], key: str) -> web.Response:
        headers = {"Idempotency-Key": key}
        try:
            await self._client.call("/messages.send", answer, dict[str, Any], headers=headers)
        except Unavailable as error:
            log.info("bot.postponed", error=str(error))
            return web.json_response({"message": str(error)}, status=503)
        except Refused as error:
            log.warning("bot.refused", error=str(error))
            return web.Response(status=204)  # it would be refused again: nothing to retry
        self.answered += 1
        return web.Response(status=204)


def answer_to(event: dict[str, Any]) -> dict[str, object] | None:
    """The body of `messages.send`, or None for what a bot leaves alone: its own words, and standby."""
    payload = event.get("payload") or {}
    message = payload.get("message") or {}
    if event.get("type") != "message.created" or not message.get("from_contact"):
        return None
    if ((message.get("metadata") or {}).get("source") or {}).get("standby"):
        return None
    return {
        "conversation_id": payload["conversation_id"],
        "message": {"text": reply(said(message.get("content")))},
    }


def said(content: object) -> str:
    """What a contact wrote, as far as it is text."""
    inner = content.get("message", content) if isinstance(content, dict) else {}
    text = inner.get("text") if isinstance(inner, dict) else None
    return text if isinstance(text, str) else ""


def reply(text: str) -> str:
    words = text.strip()
    if not words:
        return "Thank you, I got that. I only read text, though."
    if words.endswith("?"):
        return f"Good question: “{words[:200]}” A colleague will answer soon."
    return f"You said: {words[:200]}"


def verify(headers: Mapping[str, str], body: bytes, secret: str, key: str, now_s: int) -> str | None:
    """What is wrong with a delivery; None: nothing. Any one of several standard signatures has to match."""
    message_id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not at.isdigit() or abs(now_s - int(at)) > TOLERANCE_S:
        return "webhook-id or webhook-timestamp is missing or too old"
    signed = f"{message_id}.{at}.".encode() + body
    mac = hmac.digest(b64decode(secret.removeprefix("whsec_")), signed, "sha256")
    expected = f"v1,{b64encode(mac).decode()}"
    given = headers.get("webhook-signature", "").split()
    if not any(hmac.compare_digest(expected.encode(), each.encode()) for each in given):
        return "webhook-signature does not match"
    content = hmac.digest(key.encode(), body, "sha256").hex()
    if not hmac.compare_digest(content.encode(), headers.get("X-Airy-Content-Signature", "").encode()):
        return "X-Airy-Content-Signature does not match"
    return None
