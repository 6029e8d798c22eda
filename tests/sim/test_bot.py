"""The demonstration bot: accepts only signed deliveries, answers each contact's message once, asks for retries."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest

from airy.api_client import ApiClient
from airy.egress import EgressPolicy
from airy.http_client import ConnectFailed, Response
from airy.http_client_aiohttp import AiohttpClient
from airy.lifecycle import DrainingSignal
from airy.secret import Secret
from airy.sim.bot import SIGNATURE_KEY, TOLERANCE_S, Bot, reply_text, reply_to, text_of, verify
from airy.webhooks import signing

NOW_S = 1_800_000_000
KEY = b"k" * 32
SECRET = signing.secret_text(KEY)
PATIENCE_S = 120.0  # for an answer: the machine may be busy
LOOPBACK = EgressPolicy(ports=(), http=True, private=True)


class Clock:
    def now_ms(self) -> int:
        return NOW_S * 1000


class FakeLifecycle:
    def __init__(self) -> None:
        self.draining = DrainingSignal()
        self.is_ready = anyio.Event()

    def ready(self) -> None:
        self.is_ready.set()

    def waiting(self) -> AbstractContextManager[None]:
        return nullcontext()


class Airy:
    """The API as the bot uses it: remembers subscriptions, and answers by idempotency key."""

    def __init__(self) -> None:
        self.webhooks: dict[str, dict[str, Any]] = {}
        self.sent: dict[str, dict[str, Any]] = {}
        self.status = 200
        self.down = False

    async def __call__(
        self, method: str, url: str, *, headers: Mapping[str, str] = {}, body: bytes | None = None, **_: object
    ) -> Response:
        if self.down:
            raise ConnectFailed("refused")
        value = msgspec.json.decode(body or b"null")
        if self.status != 200:
            return Response(self.status, {}, b'{"message": "as told"}')
        if url.endswith("/webhooks.subscribe"):
            self.webhooks[value["id"]] = value
            return Response(200, {}, msgspec.json.encode({**value, "signing_secret": SECRET}))
        self.sent[headers["Idempotency-Key"]] = value
        return Response(200, {}, b"{}")


def event(text: str = "hello", *, from_contact: bool = True, kind: str = "message.created", **source: Any) -> bytes:
    message = {
        "id": "m",
        "content": {"sender": {"id": "1"}, "message": {"mid": "x", "text": text}},
        "canonical": [{"type": "text", "text": text}],
        "from_contact": from_contact,
        "metadata": {"source": source},
    }
    payload = {"conversation_id": "c", "channel_id": "p", "message": message}
    return msgspec.json.encode({"id": "e", "type": kind, "timestamp": 1, "payload": payload})


def signed(body: bytes, *, at_s: int = NOW_S, message_id: str = "e-1") -> dict[str, str]:
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": "v1,b2xk " + signing.standard([KEY], message_id, at_s, body),
        "X-Airy-Content-Signature": signing.content(SIGNATURE_KEY, body),
    }


def test_the_bot_accepts_signatures_of_the_publisher() -> None:
    body = event()

    assert verify(signed(body), body, SECRET, SIGNATURE_KEY, NOW_S) is None


@pytest.mark.parametrize(
    ("change", "body", "reason"),
    [
        ({}, event("other"), "webhook-signature does not match"),
        ({"webhook-id": "e-2"}, event(), "webhook-signature does not match"),
        ({"webhook-signature": ""}, event(), "webhook-signature does not match"),
        ({"webhook-timestamp": str(NOW_S - TOLERANCE_S - 1)}, event(), "webhook-id or webhook-timestamp"),
        ({"webhook-timestamp": "soon"}, event(), "webhook-id or webhook-timestamp"),
        ({"X-Airy-Content-Signature": "00"}, event(), "X-Airy-Content-Signature does not match"),
    ],
)
def test_a_modified_delivery_is_refused(change: dict[str, str], body: bytes, reason: str) -> None:
    found = verify({**signed(event()), **change}, body, SECRET, SIGNATURE_KEY, NOW_S)

    assert found is not None
    assert reason in found


def test_the_bot_answers_only_contacts() -> None:
    """Its own words would start a loop; in standby another application has the thread."""
    assert reply_to(msgspec.json.decode(event("hi"))) == {
        "conversation_id": "c",
        "message": {"canonical": {"type": "text", "text": "You said: hi"}},
    }
    assert reply_to(msgspec.json.decode(event(from_contact=False))) is None
    assert reply_to(msgspec.json.decode(event(kind="message.updated"))) is None
    assert reply_to(msgspec.json.decode(event(standby=True))) is None


@pytest.mark.parametrize("canonical", [[], [{"type": "media"}], [{"text": None}], "x", None, [3]])
def test_messages_without_text_are_answered_too(canonical: object) -> None:
    assert text_of({"canonical": canonical}) == ""
    assert reply_text("").startswith("Thank you")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_delivery_over_http_is_answered_once_under_its_own_id() -> None:
    airy, lifecycle = Airy(), FakeLifecycle()
    bot = Bot(ApiClient(airy, "http://airy", Secret("t")), Clock())  # type: ignore[arg-type]

    async with anyio.create_task_group() as tasks, AiohttpClient(LOOPBACK) as client:
        fetch = partial(client, connect_s=PATIENCE_S, total_s=PATIENCE_S)
        tasks.start_soon(bot.run, lifecycle)
        await lifecycle.is_ready.wait()
        (webhook,) = airy.webhooks.values()
        body = event("Is it there?")

        first = await fetch("POST", webhook["url"], headers=signed(body), body=body)
        again = await fetch("POST", webhook["url"], headers=signed(body), body=body)
        forged = await fetch("POST", webhook["url"], headers=signed(b"other"), body=body)
        airy.status = 503
        later = await fetch("POST", webhook["url"], headers=signed(body, message_id="e-2"), body=body)
        airy.status = 403
        never = await fetch("POST", webhook["url"], headers=signed(body, message_id="e-3"), body=body)
        lifecycle.draining.set()

    assert [first.status, again.status, forged.status, later.status, never.status] == [204, 204, 401, 503, 204]
    assert list(airy.sent) == ["e-1"]
    assert airy.sent["e-1"]["message"]["canonical"]["text"].startswith("Good question: “Is it there?”")
    assert webhook["events"] == ["message.created"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_restart_moves_the_subscription_instead_of_adding_one() -> None:
    airy = Airy()
    urls = set()

    for _ in range(2):
        lifecycle = FakeLifecycle()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Bot(ApiClient(airy, "http://airy", None), Clock()).run, lifecycle)  # type: ignore[arg-type]
            await lifecycle.is_ready.wait()
            urls |= {webhook["url"] for webhook in airy.webhooks.values()}
            lifecycle.draining.set()

    assert len(airy.webhooks) == 1
    assert len(urls) == 2
