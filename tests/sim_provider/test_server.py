"""The simulated Messenger over real sockets: Graph API, webhooks, handshake, control API."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace

from airy.secret import Secret
from airy.sim.graph import DEMO_PAGE, GraphOptions, GraphProvider
from airy.sim.provider import Behaviour, SendFault, SimServer, server
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import Accepted, Denied, Target, WebhookReply, WebhookRequest
from airy.sources.facebook.source import Facebook
from tests.kit.contracts.source import conversation, outbound
from tests.kit.providers import WIRES

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

QUICK = GraphOptions(behaviour=Behaviour(latency_ms=(0, 0), event_ms=(0, 0)))
PATIENCE_S = 120.0  # bounds waits on a busy machine
WIRE = WIRES["facebook"]
SOURCE = WIRE.source()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long enough that no webhook is retried because of a slow response."""
    monkeypatch.setattr(server, "POST_S", PATIENCE_S)


class Endpoint:
    """A webhook endpoint."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.statuses: list[int] = []  # of the next responses; then 200
        self.arrived = anyio.Event()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/facebook", self._post)
        app.router.add_get("/facebook", self._get)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = [(name.lower().encode(), text.encode()) for name, text in request.headers.items()]
        given = WebhookRequest(method="POST", url="", path=request.path, headers=headers, body=body)
        assert isinstance(SOURCE.verify(given, ConnectedChannels()), Accepted)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.bodies.append(body)
            self.arrived.set()
            self.arrived = anyio.Event()
        return web.Response(status=status)

    async def _get(self, request: web.Request) -> web.Response:
        verdict = SOURCE.verify(
            WebhookRequest(method="GET", url="", path=request.path, query=request.query_string), ConnectedChannels()
        )
        if isinstance(verdict, Denied):
            return web.Response(status=verdict.status, text=verdict.reason)
        assert isinstance(verdict, WebhookReply)
        return web.Response(text=verdict.body.decode())

    async def take(self, count: int) -> list[Any]:
        with anyio.fail_after(PATIENCE_S):
            while len(self.bodies) < count:
                await self.arrived.wait()
        return [msgspec.json.decode(body)["entry"][0]["messaging"][0] for body in self.bodies]


async def ask(session: aiohttp.ClientSession, method: str, url: str, document: object = None) -> tuple[int, Any]:
    body = None if document is None else msgspec.json.encode(document)
    async with session.request(method, url, data=body) as answer:
        said = await answer.read()
        return answer.status, msgspec.json.decode(said) if said else None


async def send(session: aiohttp.ClientSession, url: str, person: str) -> tuple[int, Any]:
    source = Facebook(replace(WIRE.section, graph_url=url))
    target = Target(
        channel=WIRE.channel(DEMO_PAGE.id),
        conversation=conversation(participant_id=person),
        credentials={"token": Secret(DEMO_PAGE.token)},
    )
    (call,) = source.encode(outbound(), target, 0)  # type: ignore[misc]
    headers = {name: value.reveal() for name, value in call.headers.items()}
    async with session.request(call.method, call.url.reveal(), headers=headers, data=call.body) as answer:
        return answer.status, msgspec.json.decode(await answer.read())


async def test_a_conversation_over_http() -> None:
    """A person writes, the page replies, and the echo has the page's message id."""
    target = Endpoint()
    async with target.serving() as target_url, aiohttp.ClientSession() as session:
        sim = SimServer(GraphProvider, replace(QUICK, target_url=target_url))
        async with sim.serving() as url:
            status, said = await ask(session, "POST", f"{url}/sim/say", {"text": "Grüße 🍞", "name": "Ines Kuhn"})
            assert status == 200
            (message,) = await target.take(1)
            assert message["message"] == {"mid": said["message_id"], "text": "Grüße 🍞"}
            status, taken = await send(session, url, said["person"])
            assert status == 200
            echo = next(e for e in await target.take(2) if e.get("message", {}).get("is_echo"))
            assert echo["message"]["mid"] == taken["message_id"]
            assert echo["message"]["metadata"] == outbound().id
            profile = f"{url}/v23.0/{said['person']}?fields=first_name&access_token={DEMO_PAGE.token}"
            assert await ask(session, "GET", profile) == (200, {"first_name": "Ines", "id": said["person"]})


async def test_webhooks_are_retried_until_a_target_acknowledges() -> None:
    target = Endpoint()
    target.statuses = [503]
    sim = SimServer(GraphProvider, QUICK)
    async with sim.serving(), target.serving() as target_url:
        sim.core.says(sim.core.person(), "hi", 0)
        sim.target_url = target_url
        (message,) = await target.take(1)
        assert message["message"]["text"] == "hi"
    assert target.statuses == []
    assert 503 in [attempt.status for attempt in sim.core.journal.webhook_attempts]


async def test_unanswered_calls_hang_and_refused_connections_close() -> None:
    sim = SimServer(GraphProvider, QUICK)
    async with sim.serving() as url, aiohttp.ClientSession() as session:
        _, said = await ask(session, "POST", f"{url}/sim/say", {"text": "hi"})
        assert (await ask(session, "POST", f"{url}/sim/faults", {"fault": "accepted_unanswered"}))[0] == 204
        async with anyio.create_task_group() as tasks:
            answers: list[object] = []

            async def wait_for_an_answer() -> None:
                answers.append(await send(session, url, said["person"]))

            tasks.start_soon(wait_for_an_answer)
            with anyio.fail_after(PATIENCE_S):
                while not sim.core.journal.sends:
                    await anyio.sleep(0.01)
            await anyio.sleep(0.8)
            assert answers == []
            tasks.cancel_scope.cancel()
        await ask(session, "POST", f"{url}/sim/faults", {"fault": SendFault.UNREACHABLE})
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await send(session, url, said["person"])
        _, journal = await ask(session, "GET", f"{url}/sim/journal")
        assert [send["outcome"] for send in journal["sends"]] == ["accepted_unanswered", "unreached"]
        assert journal["violations"] == [f"{outbound().id}: accepted_unanswered, unreached"]


async def test_an_error_inside_the_server_block_is_raised_unwrapped() -> None:
    """Not wrapped in an exception group, so that a test sees its own error."""
    with pytest.raises(KeyError, match="mine"):
        async with SimServer(GraphProvider, QUICK).serving():
            raise KeyError("mine")


async def test_the_control_api_shows_state_and_conversations() -> None:
    async with SimServer(GraphProvider, QUICK).serving() as url, aiohttp.ClientSession() as session:
        _, said = await ask(session, "POST", f"{url}/sim/say", {"text": "hi", "name": "Ines"})
        _, state = await ask(session, "GET", f"{url}/sim/state")
        assert [(each["id"], each["name"]) for each in state["accounts"]] == [(DEMO_PAGE.id, "Corner Bakery")]
        assert (state["people"], state["quiet"]) == (1, False)
        _, people = await ask(session, "GET", f"{url}/sim/people")
        assert people["people"] == [{"id": said["person"], "name": "Ines", "account": DEMO_PAGE.id, "blocked": False}]
        _, seen = await ask(session, "GET", f"{url}/sim/people/{said['person']}")
        assert [(line["text"], line["from_person"]) for line in seen["messages"]] == [("hi", True)]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("say", b""),
        ("say", b"{"),
        ("say", b'{"text":5}'),
        ("say", b'{"text":"x","person":"77"}'),
        ("say", b'{"text":"x","account":"77"}'),
        ("act", b'{"type":"dances","person":"77"}'),
        ("faults", b'{"fault":"dragon"}'),
        ("receipts", b'{"message_id":"unknown"}'),
    ],
)
async def test_an_invalid_control_request_is_explained(path: str, body: bytes) -> None:
    async with (
        SimServer(GraphProvider, QUICK).serving() as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}/sim/{path}", data=body) as answer,
    ):
        assert answer.status == 400
        assert (await answer.json())["message"]


async def test_the_handshake_reports_its_result() -> None:
    target = Endpoint()
    async with target.serving() as target_url:
        right = SimServer(GraphProvider, replace(QUICK, target_url=target_url))
        wrong = SimServer(GraphProvider, replace(QUICK, target_url=target_url, verify_token="guess"))
        assert await right.handshakes() == [f"{target_url}/facebook is subscribed"]
        assert "403 to the handshake: check the verify token" in (await wrong.handshakes())[0]
    absent = SimServer(GraphProvider, replace(QUICK, target_url=target_url))
    assert "does not respond" in (await absent.handshakes())[0]
    assert await SimServer(GraphProvider, QUICK).handshakes() == ["no target: webhooks wait"]


async def test_the_program_prints_what_to_configure_and_stops_on_a_signal() -> None:
    """As a real process, which prints the messages."""
    command = [sys.executable, "-m", "airy", "sim", "messenger", "--customers", "1"]
    async with await anyio.open_process(command, stderr=None) as process:
        assert process.stdout is not None
        told = b""
        with anyio.fail_after(2 * PATIENCE_S):
            async for part in process.stdout:
                told += part
                if b"Ines Kuhn: " in told:
                    break
            os.kill(process.pid, signal.SIGTERM)
            assert await process.wait() == 0
    assert b'graphUrl: "http://127.0.0.1:' in told
    assert b"/channels.facebook.connect" in told
