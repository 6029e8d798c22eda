"""The steps of docs/tour.md over real HTTP: webhook in, API, delivery to a subscriber, reply."""

import base64
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest

from airy.sim.graph import DEMO_PAGE, GraphProvider
from airy.sim.provider import SimServer
from tests.kit.process import (
    TOKEN,
    AiryProcess,
    Subscriber,
    call_retrying,
    connect,
    http_session,
    list_when_caught_up,
    messenger,
    position_of,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(360), pytest.mark.parametrize("anyio_backend", ["asyncio"])]

WITHIN_S = 240.0  # bounds a hang


class Installation:
    def __init__(
        self, airy: AiryProcess, session: aiohttp.ClientSession, sim: SimServer[GraphProvider], subscriber: Subscriber
    ) -> None:
        self.airy = airy
        self.session = session
        self.sim = sim
        self.subscriber = subscriber

    async def call(self, path: str, body: object, **headers: str) -> Any:
        return await call_retrying(self.airy, self.session, path, body, **headers)

    def say(self, text: str, psid: str | None = None) -> str:
        person = psid or self.sim.core.person()
        self.sim.core.says(person, text, _now_ms())
        return person


@asynccontextmanager
async def installed(directory: Path) -> AsyncIterator[Installation]:
    async with (
        messenger() as (sim, graph_url),
        Subscriber().serving() as subscriber,
        http_session() as session,
    ):
        with closing(AiryProcess(directory, graph_url)) as airy:
            airy.start()
            await airy.ready(session)
            sim.target_url = airy.url
            yield Installation(airy, session, sim, subscriber)
            assert airy.stop() == 0


async def eventually(look: Callable[[], Awaitable[Any]]) -> Any:
    """Polls `look` in real time until it returns a truthy value."""
    with anyio.fail_after(WITHIN_S):
        while not (found := await look()):
            await anyio.sleep(0.02)
    return found


async def test_a_message_in_and_the_reply_back_with_its_receipts(tmp_path: Path) -> None:
    async with installed(tmp_path) as here:

        async def subscribed() -> bool:
            return await here.sim.handshakes() == [f"{here.airy.url}/facebook is subscribed"]

        await eventually(subscribed)
        hook = {"url": here.subscriber.url, "events": ["message.created"], "signature_key": "content-key"}
        secret = (await here.call("/webhooks.subscribe", hook))["signing_secret"]
        await connect(here.airy, here.session)
        psid = here.say("is the rye bread back?")

        async def listed() -> Any:
            return (await here.call("/conversations.list", {}))["data"]

        conversation = (await eventually(listed))[0]
        assert conversation["last_message"]["content"]["message"]["text"] == "is the rye bread back?"
        assert conversation["channel"]["source_channel_id"] == DEMO_PAGE.id

        async def delivered() -> Any:
            return here.subscriber.received

        _, body, headers = (await eventually(delivered))[0]
        assert _signed(headers, body, secret)
        assert headers["x-airy-content-signature"] == hmac.new(b"content-key", body, "sha256").hexdigest()
        assert msgspec.json.decode(body)["payload"]["message"]["id"] == conversation["last_message"]["id"]

        reply = {"conversation_id": conversation["id"], "message": {"text": "yes, from Thursday on"}}
        sent = await here.call("/messages.send", reply, **{"idempotency-key": "k1"})
        again = await here.call("/messages.send", reply, **{"idempotency-key": "k1"})
        assert sent["id"] == again["id"]

        async def read() -> Any:
            page = await here.call("/messages.list", {"conversation_id": conversation["id"]})
            mine = next(message for message in page["data"] if message["id"] == sent["id"])
            return mine if mine["metadata"].get("source", {}).get("delivery_state") in {"delivered", "read"} else None

        message = await eventually(read)
        assert message["delivery_state"] == "delivered"
        (sending,) = here.sim.core.journal.sends_of(sent["id"])
        assert sending.recipient_id == psid
        assert sending.text == "yes, from Thursday on"


async def test_webhooks_received_before_the_page_was_connected_appear_afterwards(tmp_path: Path) -> None:
    async with installed(tmp_path) as here:
        here.say("too early?")

        async def taken() -> Any:
            return here.sim.core.journal.webhook_attempts and here.sim.core.pending == 0

        await eventually(taken)
        assert (await here.call("/conversations.list", {}))["data"] == []
        await connect(here.airy, here.session)

        async def listed() -> Any:
            return (await here.call("/conversations.list", {}))["data"]

        assert (await eventually(listed))[0]["last_message"]["content"]["message"]["text"] == "too early?"


async def test_a_disconnected_page_is_unsubscribed_at_the_provider(tmp_path: Path) -> None:
    async with installed(tmp_path) as here:
        page = here.sim.core.state.accounts[DEMO_PAGE.id]
        channel_id = await connect(here.airy, here.session)
        assert page.fields is not None
        assert "messages" in page.fields
        await here.call("/channels.facebook.disconnect", {"channel_id": channel_id})
        assert page.fields == frozenset()
        assert (await here.call("/channels.list", {}))["data"] == []


async def test_a_read_with_the_position_of_a_write_never_misses_it(tmp_path: Path) -> None:
    async with installed(tmp_path) as here:
        for number in range(30):
            body = msgspec.json.encode({"name": f"tag {number}", "color": "tag-red"})
            headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
            create = f"{here.airy.url}/tags.create"
            headers["x-airy-position"] = await position_of(here.session, create, body, headers)
            assert len(await list_when_caught_up(here.session, f"{here.airy.url}/tags.list", headers)) == number + 1


async def test_no_secret_is_readable_on_disk_in_logs_or_in_metrics(tmp_path: Path) -> None:
    canaries = [DEMO_PAGE.token, "canary-content-key", "canary-header-value", "app-secret", TOKEN]
    async with installed(tmp_path) as here:
        await connect(here.airy, here.session)
        hook = {
            "url": here.subscriber.url,
            "signature_key": "canary-content-key",
            "headers": {"x-key": "canary-header-value"},
        }
        canaries.append((await here.call("/webhooks.subscribe", hook))["signing_secret"])
        answers = [await here.call(path, {}) for path in ("/channels.list", "/webhooks.list", "/client.config")]
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with here.session.get(f"{here.airy.url}/metrics", headers=headers) as answer:
            answers.append(await answer.text())
    held = {"answers": repr(answers).encode()}
    held |= {
        str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "airy.yaml"
    }
    found = [(where, canary) for canary in canaries for where, data in held.items() if canary.encode() in data]

    assert found == []
    assert len(held) > 4


def _signed(headers: dict[str, str], body: bytes, secret: str) -> bool:
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, "sha256").digest()
    return f"v1,{base64.b64encode(mac).decode()}" in headers["webhook-signature"].split()


def _now_ms() -> int:
    import time

    return time.time_ns() // 1_000_000
