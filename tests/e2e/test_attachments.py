"""A real process fetches what contacts send from a hostile host: no message waits, and no trap is stepped into."""

from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.e2e.test_journey import _now_ms
from tests.kit.hostile_host import PHOTO, HostileHost
from tests.kit.process import TOKEN, AiryProcess, call_retrying, connect, http_session, messenger

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(360), pytest.mark.parametrize("anyio_backend", ["asyncio"])]

WITHIN_S = 120.0  # bounds a hang
FETCH = "media: {fetch: {allowHttp: true, allowPrivateAddresses: true, bytesMax: 2000000, timeoutS: 2}}\n"
REASONS = {"metadata": "not a public address", "endless": "over 2000000 bytes", "login.png": "text/html"}
STORED = ("photo.png", "moved.png", "flaky.png")


async def test_attachments_are_kept_traps_are_marked_and_every_message_is_visible(tmp_path: Path) -> None:
    names = ("slow", "gone.png", *REASONS, *STORED)
    async with messenger() as (sim, graph_url), HostileHost().serving() as host, http_session() as session:
        with closing(AiryProcess(tmp_path, graph_url, more=FETCH)) as airy:
            airy.start()
            await airy.ready(session)
            sim.target_url = airy.url
            await connect(airy, session)
            person = sim.core.person()
            sent = {sim.core.sends_image(person, f"{host.url}/{name}", _now_ms()): name for name in names}

            async def messages() -> dict[str, Any]:
                found = await call_retrying(airy, session, "/conversations.list", {})
                if not found["data"]:
                    return {}
                wanted = {"conversation_id": found["data"][0]["id"]}
                listed = await call_retrying(airy, session, "/messages.list", wanted)
                return {sent[each["metadata"]["source"]["id"]]: each for each in listed["data"]}

            with anyio.fail_after(WITHIN_S):
                shown = await messages()
                while not all(_is_done(each, shown.get(each)) for each in (*REASONS, *STORED)):
                    await anyio.sleep(0.1)
                    shown = await messages()
            assert len(shown) == len(names)
            for name, reason in REASONS.items():
                assert reason in shown[name]["metadata"]["media"]["0"]["error"]
            for name in ("slow", "gone.png"):  # further attempts follow
                assert shown[name]["canonical"][0]["url"] == f"{host.url}/{name}"
            url = shown["photo.png"]["canonical"][0]["url"]
            async with session.get(url) as answer:
                assert (answer.status, await answer.read()) == (200, PHOTO)
            assert shown["moved.png"]["canonical"][0]["url"] == url  # the same bytes
            async with session.get(f"{airy.url}/metrics", headers={"authorization": f"Bearer {TOKEN}"}) as answer:
                assert 'airy_media_fetches_total{kind="stored"} 3.0' in await answer.text()
            assert airy.stop() == 0


def _is_done(name: str, message: dict[str, Any] | None) -> bool:
    if message is None:
        return False
    return "media" in message["metadata"] if name in REASONS else "/media/" in message["canonical"][0]["url"]
