"""A custom source and an agent, over real HTTP: brought in, answered, refused, answered late, deleted."""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from aiohttp import web
from msgspec import Struct, field
from structlog.testing import capture_logs

from airy.config import WebhookEgressConfig
from airy.sources.custom.spec import CustomSection
from tests.kit.journey import Api, running, state_of, until

pytestmark = pytest.mark.e2e

SOURCE, ENDPOINT_SECRET = "crm-bridge", "key-in-the-address"
MESSAGE = {
    "source_message_id": "m-1",
    "source_conversation_id": "c-1",
    "source_channel_id": "ch-1",
    "source_sender_id": "customer-88",
    "content": {"text": "Where is my order?"},
    "from_contact": True,
    "sent_at": 1_735_689_600_000,
}


class Program(Struct):
    """The source's own program: answers with `answers` in turn, the last one again and again."""

    answers: list[tuple[int, object]]
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def act(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append((headers, await request.read()))
        status, document = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.json_response(document, status=status)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/act", self.act)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/act"
        finally:
            await runner.cleanup()


def guard(endpoint: str) -> WebhookEgressConfig:
    """Lets calls to this machine pass."""
    port = urlsplit(endpoint).port
    assert port is not None
    return WebhookEgressConfig(allow_http=True, allow_private_addresses=True, ports=(port,))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_src_3_r5_answers_are_posted_to_the_source_signed_with_its_token() -> None:
    program = Program(
        [
            (503, {"error": "busy"}),
            (200, {"source_message_id": "a-1", "metadata": {"ticket": {"id": 7}}}),
            (422, {"error": "the customer has left"}),
            (202, {}),
        ]
    )
    outputs: list[str] = []
    with capture_logs() as lines:
        made = await _travel(program, outputs)
    token = str(made["token"])
    assert outputs[0].count(token) == 1, "the answer that creates the source"
    shown = "\n".join([*outputs[1:], *(repr(line) for line in lines)])
    assert [secret for secret in (token, ENDPOINT_SECRET) if secret in shown] == []


async def _travel(program: "Program", outputs: list[str]) -> dict[str, Any]:
    async with (
        program.serving() as endpoint,
        aiohttp.ClientSession() as session,
        running(CustomSection(enabled=True), webhooks=guard(endpoint)) as system,
    ):
        api = Api(session, system.url, outputs)
        named = {"source_id": SOURCE, "action_endpoint": f"{endpoint}?key={ENDPOINT_SECRET}"}
        made = dict(await api.call("/sources.create", named))

        async def source(path: str, body: object) -> Any:
            headers = {"authorization": f"Bearer {made['token']}"}
            async with session.post(f"{system.url}{path}", json=body, headers=headers) as response:
                assert response.status < 300, await response.text()
                return await response.json()

        channel = await source("/sources.channels.create", {"source_channel_id": "ch-1", "name": "Desk"})
        conversation_id = (await source("/sources.webhook", {"messages": [MESSAGE]}))["messages"][0]["conversation_id"]

        async def sent(content: object) -> str:
            body = {"conversation_id": conversation_id, "message": content}
            return str((await api.call("/messages.send", body))["id"])

        first = await sent({"text": "On its way"})
        answered = await until(api, lambda message: message["id"] == first and state_of(message) == "sent")
        assert answered["metadata"]["source"]["id"] == "a-1"
        assert answered["metadata"]["ticket"] == {"id": 7}
        headers, body = program.received[-1]
        token = made["token"].encode()
        assert headers["x-airy-content-signature"] == hmac.digest(token, body, "sha256").hex()
        assert headers["idempotency-key"] == first
        assert [each[1] for each in program.received[:2]] == [body, body], "the same call was tried again"
        call = _decoded(body)
        assert call["type"] == "message.send"
        message, conversation = call["payload"]["message"], call["payload"]["conversation"]
        assert (message["id"], message["source_recipient_id"]) == (first, "customer-88")
        assert message["content"] == {"text": "On its way"}
        assert conversation == {
            "id": conversation_id,
            "channel_id": channel["id"],
            "source_channel_id": "ch-1",
            "source_conversation_id": "c-1",
            "created_at": "2025-01-01T00:00:00.000Z",
        }

        second = await sent("anything")
        refused = await until(api, lambda message: message["id"] == second and state_of(message) == "failed")
        assert refused["metadata"]["error"] == "the customer has left"
        assert refused["metadata"]["source"]["error_code"] == "http/422"

        third = await sent({"canonical": {"type": "text", "text": "Anything else?"}})
        await until(api, lambda message: message["id"] == third and state_of(message) == "sent")
        content = _decoded(program.received[-1][1])["payload"]["message"]["content"]
        assert content == {"text": "Anything else?", "canonical": {"type": "text", "text": "Anything else?"}}
        receipt = {"source_conversation_id": "c-1", "message_id": third, "source_message_id": "a-3", "state": "read"}
        await source("/sources.webhook", {"receipts": [receipt]})
        read = await until(api, lambda message: message["id"] == third and state_of(message) == "read")
        assert read["metadata"]["source"]["id"] == "a-3"

        begun = {"channel_id": channel["id"], "source_recipient_id": "customer-9", "message": {"text": "Hello"}}
        opened = await api.call("/messages.send", begun)
        await until(api, lambda message: message["id"] == opened["id"] and state_of(message) == "sent")
        theirs = {**MESSAGE, "source_message_id": "m-9", "source_conversation_id": "customer-9"}
        again = await source("/sources.webhook", {"messages": [{**theirs, "source_sender_id": "customer-9"}]})
        listed = await api.call("/messages.list", {"conversation_id": again["messages"][0]["conversation_id"]})
        assert len(listed["data"]) == 2, "the answer is in the conversation that the message began"
        return made


def _decoded(body: bytes) -> Any:
    return msgspec.json.decode(body)
