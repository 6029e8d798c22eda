"""A visitor of a chat plugin and an agent, over real HTTP and websockets: written, answered, away, resumed."""

import aiohttp
import anyio
import msgspec
import pytest
from aiohttp import ClientWebSocketResponse

from airy.http.stomp.frame import Frame, FrameDecoder, encode
from airy.sources.chatplugin.spec import ChatPluginSection
from tests.kit.journey import Api, running, state_of, until

pytestmark = pytest.mark.e2e

SITE = {"origin": "https://bakery.example"}
QUEUE = "/user/queue/message"


class Widget:
    """The browser of a visitor."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.token = ""

    async def call(self, path: str, body: object) -> dict[str, object]:
        headers = {**SITE, **({"authorization": f"Bearer {self.token}"} if self.token else {})}
        async with self._session.post(f"{self._url}{path}", json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            assert response.headers["access-control-allow-origin"] == SITE["origin"]
            return dict(await response.json())

    async def open(self) -> "Socket":
        url = f"{self._url.replace('http', 'ws', 1)}/ws.chatplugin"
        socket = Socket(await self._session.ws_connect(url, headers=SITE, protocols=("v12.stomp", "v11.stomp")))
        await socket.send("CONNECT", {"accept-version": "1.2", "heart-beat": "4000,4000", "Authorization": self.token})
        assert (await socket.receive()).headers["heart-beat"] == "30000,30000"
        await socket.send("SUBSCRIBE", {"id": "sub-0", "destination": QUEUE, "receipt": "r"})
        assert (await socket.receive()).command == "RECEIPT"
        return socket


class Socket:
    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._decoder = FrameDecoder(body_bytes_max=1_000_000)
        self._decoder.version = "1.2"

    async def send(self, command: str, headers: dict[str, str]) -> None:
        await self._socket.send_str(encode(Frame(command, headers), "1.2").decode())

    async def receive(self) -> Frame:
        while (frame := self._decoder.next()) is None:
            self._decoder.feed((await self._socket.receive_str()).encode())
        return frame

    async def content(self) -> object:
        return msgspec.json.decode((await self.receive()).body)["message"]["content"]

    async def close(self) -> None:
        await self._socket.close()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_visitor_is_answered_while_there_and_after_coming_back() -> None:
    """L1, L2, L4."""
    with anyio.fail_after(120):
        async with aiohttp.ClientSession() as session, running(ChatPluginSection(enabled=True)) as system:
            api, widget = Api(session, system.url, []), Widget(session, system.url)
            channel = await api.call("/channels.chatplugin.connect", {"name": "shop"})
            config = {
                "channel_id": channel["id"],
                "config": {"headerText": "Help"},
                "allowed_origins": [SITE["origin"]],
            }
            await api.call("/channels.chatplugin.configure", config)
            assert (await widget.call("/chatplugin.config", {"channel_id": channel["id"]}))["config"] == config[
                "config"
            ]

            visit = await widget.call("/chatplugin.authenticate", {"channel_id": channel["id"]})
            widget.token = str(visit["token"])
            socket = await widget.open()
            await widget.call("/chatplugin.send", {"message": {"text": "Is the rye bread back?"}})
            assert await socket.content() == {"text": "Is the rye bread back?"}
            (conversation,) = (await api.call("/conversations.list"))["data"]
            answer = {"conversation_id": conversation["id"], "message": {"canonical": {"type": "text", "text": "Yes."}}}
            await api.call("/messages.send", answer)
            assert await socket.content() == {"text": "Yes."}
            await until(api, lambda message: state_of(message) == "delivered")
            await socket.close()

            await api.call("/messages.send", {**answer, "message": {"text": "Shall I keep one?"}})
            await until(api, lambda message: state_of(message) == "sent")
            resumed = await widget.call("/chatplugin.authenticate", {"resume_token": visit["resume_token"]})
            texts = [message["content"]["text"] for message in resumed["messages"]]  # type: ignore[attr-defined]
            assert texts == ["Is the rye bread back?", "Yes.", "Shall I keep one?"]
            listed = await api.call("/messages.list", {"conversation_id": conversation["id"]})
            assert {state_of(message) for message in listed["data"] if not message["from_contact"]} == {"delivered"}

            await api.call("/channels.chatplugin.disconnect", {"channel_id": channel["id"]})
            assert (await api.call("/channels.list"))["data"] == []
