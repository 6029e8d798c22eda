"""JavaScript clients, as those of the original, follow the events of a real server."""

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from airy.http.asyncapi import asyncapi_document
from tests.http.test_chatplugin import answered
from tests.kit import javascript
from tests.kit.api import TOKEN, api_harness
from tests.kit.builders import Chat, channel
from tests.kit.servers.fixtures import needed
from tests.kit.serving import serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.parametrize("anyio_backend", ["asyncio"])]

WITHIN_S = 60.0  # bounds a hang


class Script:
    """A running script that prints JSON lines."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.lines: list[dict[str, Any]] = []

    async def read(self) -> None:
        assert self._process.stdout is not None
        text = ""
        async for part in TextReceiveStream(self._process.stdout):
            text += part
            *complete, text = text.split("\n")
            self.lines += map(json.loads, complete)

    async def until(self, source: str, **wanted: object) -> dict[str, Any]:
        """The first line of a client that has these values."""
        with anyio.fail_after(WITHIN_S):
            while True:
                for line in self.lines:
                    if line["from"] == source and wanted.items() <= line.items():
                        return line
                await anyio.sleep(0.01)

    async def events(self, source: str, count: int) -> list[dict[str, Any]]:
        with anyio.fail_after(WITHIN_S):
            while (
                len(found := [line["event"] for line in self.lines if line["from"] == source and "event" in line])
                < count
            ):
                await anyio.sleep(0.01)
        return found

    async def end(self) -> int:
        assert self._process.stdin is not None
        await self._process.stdin.send(b"end\n")
        return await self._process.wait()


@asynccontextmanager
async def running(*arguments: str, script: str = "events.cjs") -> AsyncIterator[Script]:
    with needed():
        environment = javascript.environment()
        command = javascript.command(script, *arguments)
    async with (
        await anyio.open_process(command, env=environment, stderr=subprocess.STDOUT) as process,
        anyio.create_task_group() as tasks,
    ):
        started = Script(process)
        tasks.start_soon(started.read)
        yield started
        tasks.cancel_scope.cancel()


async def test_stompjs_and_a_native_client_receive_events() -> None:
    """WS-1, S1: the client library of the original, with its sub-protocols, heart-beats and receipts."""
    async with api_harness() as api, serving(api) as (url, _), running(url.replace("http", "ws"), TOKEN) as script:
        assert (await script.until("stomp", connected="1.2"))["connected"] == "1.2"
        await script.until("stomp", ready=True)
        await script.until("native", ready=True)
        chat = Chat()
        await api.append(channel(), chat.received("hello"))
        await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, 201)

        received = await script.events("stomp", 5)
        assert {event["type"] for event in received} == {
            "channel.updated",
            "message.created",
            "conversation.updated",
            "metadata.updated",
            "tag.updated",
        }
        (message,) = await script.events("native", 1)
        assert message["payload"]["conversation_id"] == chat.conversation_id
        assert message["id"] in {event["id"] for event in received}
        assert await script.end() == 0
        assert {"from": "stomp", "closed": 1000} in script.lines


async def test_stompjs_with_a_wrong_token_is_told_with_a_401() -> None:
    async with api_harness() as api, serving(api) as (url, _), running(url.replace("http", "ws"), "wrong") as script:
        await script.until("stomp", closed=1002)
        assert any("401" in line.get("error", "") for line in script.lines)
        assert await script.end() == 0


async def test_a_widget_with_stompjs_gets_what_its_visitor_wrote_and_the_answer() -> None:
    """L1, L4."""
    async with api_harness() as api, serving(api) as (url, _):
        channel_id = (await api.call("/channels.chatplugin.connect", {"name": "shop"}))["id"]
        async with running(url, channel_id, script="widget.cjs") as script:
            echo = await script.until("widget", channel_id=channel_id)
            assert echo["message"]["content"] == {"text": "Is the rye bread back?"}
            await answered(api, echo["conversation_id"], channel_id, {"text": "Yes."})
            while len(script.lines) < 2:
                await anyio.sleep(0.01)
            assert script.lines[1]["message"]["content"] == {"text": "Yes."}
            assert await script.end() == 0


async def test_the_asyncapi_document_is_valid_by_the_specification() -> None:
    with needed():
        environment, command = javascript.environment(), javascript.command("validate_asyncapi.cjs")
    document = msgspec.json.encode(asyncapi_document("1.2.3"))
    done = await anyio.run_process(command, input=document, env=environment, check=False)
    assert (done.returncode, done.stdout.decode()) == (0, "")

    broken = await anyio.run_process(command, input=b'{"asyncapi":"3.0.0"}', env=environment, check=False)
    assert broken.returncode == 1
