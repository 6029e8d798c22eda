"""One channel's life over real HTTP: connect, a contact writes, an answer is sent, receipts arrive, disconnect.

The process is composed as in production, with its log in memory. Nothing here knows which provider it is.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import msgspec
from msgspec import Struct
from structlog.testing import capture_logs

from airy.app.up import RunningSystem, up
from airy.clock import SystemClock
from airy.config import Config, HttpConfig, SecurityConfig, WebhookEgressConfig
from airy.http.listener_handover import ListenerHandover
from airy.live_config.live_config import LiveConfig
from airy.secret import Secret
from airy.sources.spec import ChannelForm, SourceSection
from tests.kit import provider_server
from tests.kit.config_source import MemoryConfigSource
from tests.kit.providers.base import PUBLIC_URL, Webhook, Wire
from tests.kit.scripted_provider import ScriptedProvider, delivery_states

TOKEN = "a-token-of-thirty-two-characters"
PATIENCE_S = 60.0
DELAY_S = 0.05


class Journey(Struct, kw_only=True):
    """What was seen of it, as JSON documents."""

    channel: dict[str, Any]
    received: dict[str, Any]
    sent: dict[str, Any]  # in its last state
    taken: list[dict[str, Any]]  # by the provider
    statuses: list[int]  # of webhooks
    left: list[dict[str, Any]]  # channels after the disconnect
    outputs: str  # everything that was answered or logged


async def travel(wire: Wire, kind: str) -> Journey:
    provider = ScriptedProvider(wire, SystemClock(), kind=kind)
    outputs: list[str] = []
    with capture_logs() as lines:
        async with (
            provider_server.serving(provider) as provider_url,
            aiohttp.ClientSession() as session,
            running(wire.at(provider_url)) as system,
        ):
            api = Api(session, system.url, outputs)
            statuses: list[int] = []

            async def deliver(webhook: Webhook) -> None:
                statuses.append(await provider_server.post(session, system.url, wire, webhook))

            channel = await api.call(f"/channels.{kind}.connect", _body(wire.form(kind)))
            now_ms = SystemClock().now_ms()
            await deliver(wire.received(kind, 1, "Is the rye bread back?", now_ms))
            received = await until(api, lambda message: message["from_contact"])
            provider.echoes = wire.capabilities(kind).echoes
            provider.receipts = delivery_states(wire.capabilities(kind))
            provider.post = deliver
            conversation_id = (await api.call("/conversations.list"))["data"][0]["id"]
            content = {"canonical": {"type": "text", "text": "Yes, three left."}}
            await api.call("/messages.send", {"conversation_id": conversation_id, "message": content})
            last = str([*provider.receipts, "sent"][-1 if not provider.receipts else len(provider.receipts) - 1])
            sent = await until(api, lambda message: state_of(message) == last)
            await api.call(f"/channels.{kind}.disconnect", {"channel_id": channel["id"]})
            left = (await api.call("/channels.list"))["data"]
    outputs += [repr(line) for line in lines]
    taken = [msgspec.to_builtins(attempt.taken) for attempt in provider.delivered]
    return Journey(
        channel=channel,
        received=received,
        sent=sent,
        taken=taken,
        statuses=statuses,
        left=left,
        outputs="\n".join(outputs),
    )


@asynccontextmanager
async def running(
    section: SourceSection, *, webhooks: WebhookEgressConfig | None = None
) -> AsyncIterator[RunningSystem]:
    """`webhooks`: the guard of addresses that callers name."""
    security = SecurityConfig(system_token=Secret(TOKEN), webhooks=webhooks or WebhookEgressConfig())
    config = Config(http=HttpConfig(port=0, public_url=PUBLIC_URL), security=security).with_sections(section)
    started: list[RunningSystem] = []
    ready = anyio.Event()

    def on_started(system: RunningSystem) -> None:
        started.append(system)
        ready.set()

    async with anyio.create_task_group() as tasks:
        live, handover = LiveConfig(config, MemoryConfigSource()), ListenerHandover()
        tasks.start_soon(
            lambda: up(
                config,
                components=None,
                ephemeral=True,
                demo=False,
                on_started=on_started,
                configuration=live,
                handover=handover,
            )
        )
        with anyio.fail_after(PATIENCE_S):
            await ready.wait()
        yield started[0]
        started[0].stop()


class Api:
    def __init__(self, session: aiohttp.ClientSession, url: str, outputs: list[str]) -> None:
        self._session = session
        self._url = url
        self._outputs = outputs

    async def call(self, path: str, body: object = None) -> Any:
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with self._session.post(f"{self._url}{path}", json=body or {}, headers=headers) as response:
            text = await response.text()
            self._outputs.append(text)
            assert response.status < 300, (path, response.status, text)
            return msgspec.json.decode(text) if text else None


def _body(form: ChannelForm) -> dict[str, object]:
    given = msgspec.structs.asdict(form)
    return {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in given.items()
        if value is not None
    }


def state_of(message: dict[str, Any]) -> object:
    return message["metadata"].get("source", {}).get("delivery_state")


async def until(api: Api, wanted: Any) -> dict[str, Any]:
    with anyio.fail_after(PATIENCE_S):
        while True:
            for conversation in (await api.call("/conversations.list"))["data"]:
                listed = await api.call("/messages.list", {"conversation_id": conversation["id"]})
                for message in listed["data"]:
                    if wanted(message):
                        return dict(message)
            await anyio.sleep(DELAY_S)
