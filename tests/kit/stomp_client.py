"""A STOMP 1.2 client over a websocket of the application."""

from airy.http.stomp.frame import Frame, FrameDecoder, encode
from tests.kit.asgi_websocket import WebsocketClient


class StompClient:
    def __init__(self, socket: WebsocketClient) -> None:
        self.socket = socket
        self._decoder = FrameDecoder(body_bytes_max=1_000_000)
        self._decoder.version = "1.2"

    async def send(self, command: str, body: bytes = b"", /, **headers: str) -> None:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        await self.socket.send(encode(Frame(command, given, body), "1.2").decode())

    async def receive(self) -> Frame:
        while (frame := self._decoder.next()) is None:
            self._decoder.feed((await self.socket.receive()).encode())
        return frame

    async def connect(self, authorization: str | None = None, heart_beat: str = "0,0") -> Frame:
        more = {} if authorization is None else {"Authorization": authorization}
        await self.send("CONNECT", accept_version="1.0,1.1,1.2", heart_beat=heart_beat, **more)
        return await self.receive()

    async def subscribe(self, subscription: str = "sub-0", *, destination: str = "/events") -> None:
        """Messages from here on are received."""
        await self.send("SUBSCRIBE", id=subscription, destination=destination, receipt=subscription)
        assert await self.receive() == Frame("RECEIPT", {"receipt-id": subscription})

    async def closed(self) -> int:
        return await self.socket.closed()
