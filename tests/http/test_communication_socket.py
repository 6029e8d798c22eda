"""`/ws.communication` as clients of the original use it: authentication, events, receipts, errors, heart-beats."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest

from airy.actors import change_feed
from airy.actors.feed_subscriber import FeedLimits, Subscriber
from airy.errors import Unavailable
from airy.http.asgi import RawHeaders
from airy.http.auth import Caller, Permission
from airy.http.stomp.frame import Frame, encode
from airy.http.websocket import WebsocketLimits
from tests.kit.api import TOKEN, ApiHarness, api_harness
from tests.kit.asgi_websocket import open_websocket
from tests.kit.builders import Chat, channel
from tests.kit.stomp_client import StompClient

PATH = "/ws.communication"
AUTHORIZATION = f"Bearer {TOKEN}"
AUTHORIZED = [("authorization", AUTHORIZATION)]


@asynccontextmanager
async def stomp(
    api: ApiHarness, headers: list[tuple[str, str]] | None = None, subprotocols: tuple[str, ...] = ()
) -> AsyncIterator[StompClient]:
    given = AUTHORIZED if headers is None else headers
    with anyio.fail_after(600):
        async with open_websocket(api.app, PATH, given, subprotocols=subprotocols) as socket:
            assert socket.rejection is None, socket.rejection
            yield StompClient(socket)


# --- the handshake and CONNECT


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (("v10.stomp", "v11.stomp", "v12.stomp"), "v12.stomp"),
        (("v10.stomp",), "v10.stomp"),
        (("other",), None),
        ((), None),
    ],
)
async def test_the_best_subprotocol_is_chosen(offered: tuple[str, ...], chosen: str | None) -> None:
    async with api_harness() as api, open_websocket(api.app, PATH, AUTHORIZED, subprotocols=offered) as socket:
        assert socket.subprotocol == chosen


async def test_a_token_at_the_handshake_is_enough() -> None:
    async with api_harness() as api, stomp(api) as client:
        assert (await client.connect()).headers["version"] == "1.2"


async def test_a_token_in_connect_is_enough() -> None:
    async with api_harness() as api, stomp(api, []) as client:
        assert (await client.connect(AUTHORIZATION, "10000,10000")).headers["heart-beat"] == "30000,30000"


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", ""])
async def test_without_a_valid_token_connect_is_answered_with_a_401_and_the_socket_closed(
    authorization: str | None,
) -> None:
    async with api_harness() as api, stomp(api, []) as client:
        error = await client.connect(authorization)

        assert error.command == "ERROR"
        assert "401" in error.headers["message"]
        assert await client.closed() == 1002


async def test_a_connect_whose_token_cannot_be_checked_now_is_a_503() -> None:
    class Busy:
        async def authenticate(self, headers: RawHeaders, /) -> Caller | None:
            if any(name == b"authorization" for name, _ in headers):
                raise Unavailable("this replica is still folding the log")
            return None

    async with api_harness(authenticators=[Busy()]) as api, stomp(api, []) as client:
        error = await client.connect(AUTHORIZATION)

        assert error.headers["message"].startswith("503 this replica is still folding the log")
        assert await client.closed() == 1002


async def test_a_wrong_token_in_connect_is_not_replaced_by_that_of_the_handshake() -> None:
    async with api_harness() as api, stomp(api) as client:
        assert "401" in (await client.connect("Bearer wrong")).headers["message"]


async def test_a_wrong_token_at_the_handshake_is_rejected() -> None:
    async with api_harness() as api, open_websocket(api.app, PATH, [("authorization", "Bearer wrong")]) as socket:
        assert socket.rejection is not None
        assert socket.rejection.status == 403


async def test_a_caller_without_the_permission_to_read_receives_nothing() -> None:
    class Writer:
        async def authenticate(self, headers: RawHeaders, /) -> Caller | None:
            return Caller("w", frozenset({Permission.WRITE})) if dict(headers).get(b"authorization") else None

    async with api_harness(authenticators=[Writer()]) as api, stomp(api, []) as client:
        assert "401" in (await client.connect("Bearer any")).headers["message"]


@pytest.mark.parametrize("limits", [WebsocketLimits(unauthenticated_max=1), WebsocketLimits(sessions_max=2)])
async def test_handshakes_that_never_authenticate_are_limited_and_end(limits: WebsocketLimits) -> None:
    async with api_harness(websocket_limits=limits) as api, stomp(api, []) as idle:
        async with open_websocket(api.app, PATH) as second:
            assert second.rejection is not None
            assert second.rejection.status == 503
        async with stomp(api):
            error = await idle.receive()
            assert error.headers["message"].startswith("408 ")
        async with stomp(api, []) as third:
            await third.connect(AUTHORIZATION)
            async with stomp(api, []):
                pass


async def test_a_token_that_is_revoked_ends_its_sessions() -> None:
    class Revocable:
        valid = True

        async def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
            return Caller("c", frozenset({Permission.READ})) if self.valid else None

    tokens = Revocable()
    async with api_harness(authenticators=[tokens]) as api, stomp(api) as client:
        await client.connect()
        tokens.valid = False
        assert "401" in (await client.receive()).headers["message"]


# --- events


async def test_events_of_messages_channels_metadata_and_tags_reach_a_subscriber_of_events() -> None:
    """WS-1, S1."""
    async with api_harness() as api, stomp(api) as client:
        chat = Chat()
        await client.connect()
        await client.subscribe()
        received = chat.received("hello")
        await api.append(channel(), received)
        await api.call("/conversations.set-state", {"conversation_id": chat.conversation_id, "state": "CLOSED"}, 204)
        await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, 201)

        events = {}
        while "tag.updated" not in events:
            frame = await client.receive()
            event = msgspec.json.decode(frame.body)
            events[event["type"]] = (frame, event)

        frame, event = events["message.created"]
        assert frame.headers["subscription"] == "sub-0"
        assert frame.headers["destination"] == "/events"
        assert frame.headers["content-type"] == "application/json"
        assert frame.headers["content-length"] == str(len(frame.body))
        assert frame.headers["message-id"] == event["id"]
        assert event["timestamp"] == received.at_ms
        assert event["payload"]["conversation_id"] == chat.conversation_id
        assert event["payload"]["message"]["content"] == msgspec.json.decode(received.content)
        assert events["channel.updated"][1]["payload"]["source"] == "facebook"
        metadata = events["metadata.updated"][1]["payload"]
        assert (metadata["subject"], metadata["identifier"]) == ("conversation", chat.conversation_id)
        assert metadata["metadata"]["state"] == "CLOSED"
        assert events["tag.updated"][1]["payload"]["color"] == "tag-red"


async def test_a_read_with_the_position_of_an_event_shows_what_the_event_is_about() -> None:
    async with api_harness() as api, stomp(api) as client:
        await client.connect()
        await client.subscribe()
        await api.append(channel(), Chat().received("hello"))
        frame = await client.receive()

        await api.call("/conversations.list", {}, x_airy_position=frame.headers["x-airy-position"])


async def test_each_subscription_gets_every_event_until_it_ends() -> None:
    async with api_harness() as api, stomp(api) as client:
        await client.connect()
        await client.subscribe("a")
        await client.subscribe("b")
        await api.append(channel())
        assert {(await client.receive()).headers["subscription"] for _ in range(2)} == {"a", "b"}

        await client.send("UNSUBSCRIBE", id="a", receipt="done")
        assert (await client.receive()).command == "RECEIPT"
        await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, 201)
        assert (await client.receive()).headers["subscription"] == "b"


async def test_events_before_the_subscription_are_not_sent() -> None:
    async with api_harness() as api, stomp(api) as client:
        await api.append(channel())
        await client.connect()
        await client.subscribe()
        await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, 201)

        assert msgspec.json.decode((await client.receive()).body)["type"] == "tag.updated"


# --- the end of a session


async def test_what_a_client_sends_reaches_no_subscriber() -> None:
    async with api_harness() as api, stomp(api) as forger, stomp(api) as client:
        for each in (forger, client):
            await each.connect()
            await each.subscribe()
        await forger.send("SEND", b'{"type":"message.created"}', destination="/events")
        assert (await forger.receive()).headers["message"].startswith("403 ")
        assert await forger.closed() == 1002
        await api.append(channel())
        assert msgspec.json.decode((await client.receive()).body)["type"] == "channel.updated"


async def test_disconnect_is_answered_before_the_socket_closes() -> None:
    async with api_harness() as api, stomp(api) as client:
        await client.connect()
        await client.send("DISCONNECT", receipt="bye")
        assert await client.receive() == Frame("RECEIPT", {"receipt-id": "bye"})
        assert await client.closed() == 1000


async def test_bytes_that_are_no_frame_are_a_400() -> None:
    async with api_harness() as api, open_websocket(api.app, PATH, AUTHORIZED) as socket:
        await socket.send("hello\n\n\0")
        assert "message:400 " in await socket.receive()
        assert await socket.closed() == 1002


async def test_frames_may_arrive_in_binary_messages_cut_anywhere() -> None:
    connect = encode(Frame("CONNECT", {"accept-version": "1.2"}), "1.2")
    subscribe = encode(Frame("SUBSCRIBE", {"id": "ü", "destination": "/events", "receipt": "ü"}), "1.2")
    async with api_harness() as api, open_websocket(api.app, PATH, AUTHORIZED) as socket:
        await socket.send_bytes(connect + subscribe[:20])
        assert (await socket.receive()).startswith("CONNECTED\n")
        await socket.send_bytes(subscribe[20:])
        assert await socket.receive() == "RECEIPT\nreceipt-id:ü\n\n\0"


async def test_the_server_beats_while_it_has_nothing_to_send_and_ends_a_silent_client() -> None:
    async with api_harness() as api, open_websocket(api.app, PATH, AUTHORIZED) as socket:
        await socket.send(
            encode(Frame("CONNECT", {"accept-version": "1.2", "heart-beat": "1000,1000"}), "1.2").decode()
        )
        await socket.receive()
        begin, beats = anyio.current_time(), 0
        while (text := await socket.receive()) == "\n":
            beats += 1

        assert "message:408 " in text
        assert anyio.current_time() - begin == pytest.approx(60.0, abs=1.0)
        assert beats >= 2


async def test_a_client_that_does_not_read_is_cut_with_a_reason() -> None:
    """X-9."""
    limits = FeedLimits(queue_items_max=4, send_s_max=3.0)
    async with api_harness(feed_limits=limits) as api, stomp(api) as client:
        await client.connect()
        await client.subscribe()
        await api.append(channel())
        for number in range(200):
            await api.append(Chat(number).received("hello"))
        await anyio.sleep(10)

        _, code, reason = await client.socket.read_until_closed()
        assert (code, reason) == (1013, "503 the client did not read for 3 s")


async def test_a_broadcaster_that_does_not_come_back_ends_the_session_with_a_503(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with api_harness() as api, stomp(api) as client:
        await client.connect()
        await client.subscribe()

        async def refuse(_subscription: object) -> None:
            raise Unavailable("the broadcaster restarts")

        monkeypatch.setattr(Subscriber, "offer", lambda self, item: False)
        monkeypatch.setattr(change_feed._Subscription, "_join", refuse)
        await api.append(channel())

        assert (await client.receive()).command == "MESSAGE", "it is read from the store"
        assert (await client.receive()).headers["message"] == "503 the broadcaster restarts"
        assert await client.closed() == 1013
