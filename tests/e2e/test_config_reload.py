"""A real process changes its configuration while messages flow in: nothing is refused or lost, a bad one goes back."""

from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import anyio
import pytest

from airy.clock import SystemClock
from tests.kit.load import LoadGenerator, add_people, assert_intact, wait_until_delivered
from tests.kit.process import AiryProcess, Subscriber, call_retrying, connect, http_session, messenger
from tests.kit.servers.ports import Port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(360), pytest.mark.parametrize("anyio_backend", ["asyncio"])]

WITHIN_S = 120.0  # bounds a hang


class Prober:
    """Opens a new connection all the time, as a provider does; `refused` counts those that nothing accepts."""

    def __init__(self, url: str) -> None:
        self.refused = 0
        self.accepted = 0
        self._url = url

    async def run(self) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            while True:
                try:
                    async with session.get(f"{self._url}/livez"):
                        self.accepted += 1
                except aiohttp.ClientConnectorError:
                    self.refused += 1
                except aiohttp.ClientError:
                    pass  # accepted, and closed by the drain
                await anyio.sleep(0.01)


async def changed(airy: AiryProcess, session: aiohttp.ClientSession, name: str, **data: object) -> dict[str, Any]:
    """Plan and apply a change; the outcome once the process has reloaded."""
    changes = [{"name": name, "data": data}]
    plan = await call_retrying(airy, session, "/components.plan", {"components": changes})
    body = {"components": changes, "fingerprint": plan["fingerprint"]}
    await airy.call(session, "/components.update", body)
    with anyio.fail_after(WITHIN_S):
        while True:
            found: dict[str, Any] = await call_retrying(airy, session, "/components.list", {})
            if found["last_change"]["state"] != "reloading":
                return found
            await anyio.sleep(0.05)


async def test_a_source_is_switched_on_and_a_taken_port_goes_back_while_messages_flow(tmp_path: Path) -> None:
    async with messenger() as (sim, graph_url), Subscriber().serving() as subscriber, http_session() as session:
        with closing(AiryProcess(tmp_path, graph_url, more="# ours\n")) as airy, Port() as taken:
            airy.start()
            await airy.ready(session)
            channel_id = await connect(airy, session)
            hook = {"url": subscriber.url, "events": ["message.created"]}
            await call_retrying(airy, session, "/webhooks.subscribe", hook)
            now_ms = SystemClock().now_ms()
            add_people(sim.core, now_ms)
            load, prober = (
                LoadGenerator(airy, session, Random(0), answer_every_s=0.1, first_ms=now_ms),
                Prober(airy.url),
            )
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(load.run, channel_id)
                tasks.start_soon(prober.run)
                on = await changed(airy, session, "sources-chatplugin", enabled=True)
                back = await changed(airy, session, "http", host="192.0.2.1", port=taken.number)
                tasks.cancel_scope.cancel()

            assert on["last_change"]["state"] == "applied"
            assert "disabled" not in {each["state"] for each in on["data"] if each["name"] == "sources-chatplugin"}
            assert back["last_change"]["state"] == "reverted"
            assert f"cannot listen on 192.0.2.1:{taken.number}" in back["last_change"]["problem"]
            text = (tmp_path / "airy.yaml").read_text()
            assert text.endswith("# ours\n")
            assert "chatplugin:\n      enabled: true\n" in text
            assert (prober.refused, prober.accepted > 0) == (0, True)
            await wait_until_delivered(subscriber, load, channel_id, within_s=WITHIN_S)
            await assert_intact(airy, session, load, subscriber, channel_id)
            assert sim.core.journal.violations() == []
            assert airy.stop() == 0
