"""`/events` as a websocket and as server-sent events: scopes, resuming, keep-alives, credentials, limits."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from airy.actors.feed_subscriber import FeedLimits
from airy.http import event_stream
from airy.http.asgi import RawHeaders
from airy.http.auth import Caller, Permission
from airy.http.problems import Problem
from tests.kit.api import ORIGIN, TOKEN, ApiHarness, api_harness
from tests.kit.asgi import call
from tests.kit.asgi_websocket import open_websocket
from tests.kit.builders import Chat, channel
from tests.kit.event_stream import open_event_stream

AUTHORIZED = [("authorization", f"Bearer {TOKEN}")]
Receive = Callable[[], Any]
Open = Callable[..., AbstractAsyncContextManager[Receive]]


@asynccontextmanager
async def over_websocket(api: ApiHarness, query: str = "") -> AsyncIterator[Receive]:
    with anyio.fail_after(600):
        async with open_websocket(api.app, "/events", AUTHORIZED, query=query) as socket:
            assert socket.rejection is None, socket.rejection
            yield socket.receive_json


@asynccontextmanager
async def over_stream(api: ApiHarness, query: str = "") -> AsyncIterator[Receive]:
    with anyio.fail_after(600):
        async with open_event_stream(api.app, "/events", AUTHORIZED, query=query) as stream:
            assert stream.status == 200, stream.body

            async def receive() -> Any:
                event = await stream.receive()
                assert event.id == event.data["resume"]
                assert event.event == (event.data["type"] if "payload" not in event.data else "message")
                return event.data

            yield receive


both = pytest.mark.parametrize("open_events", [over_websocket, over_stream])


@both
async def test_an_event_is_the_body_of_its_webhook_with_a_position_and_a_token(open_events: Open) -> None:
    async with api_harness() as api, open_events(api) as receive:
        assert (await receive())["type"] == "ready"
        chat = Chat()
        await api.append(channel(), chat.received("hello"))
        events = [await receive() for _ in range(4)]

        assert {event["type"] for event in events} == {
            "channel.updated",
            "message.created",
            "conversation.updated",
            "metadata.updated",
        }
        for event in events:
            assert set(event) == {"id", "type", "timestamp", "sequence", "payload", "position", "resume"}
            await api.call("/conversations.list", {}, x_airy_position=event["position"])


@both
async def test_a_client_that_reconnects_receives_exactly_what_it_missed(open_events: Open) -> None:
    async with api_harness() as api:
        chat = Chat()
        async with open_events(api) as receive:
            ready = await receive()
            await api.append(channel(), chat.received("one"))
            seen = [await receive() for _ in range(2)]
        await api.append(chat.received("two"))
        async with open_events(api, f"resume={seen[-1]['resume']}") as receive:
            missed = [await receive() for _ in range(5)]
            assert (await receive())["type"] == "ready"
        async with open_events(api, f"resume={ready['resume']}") as receive:
            everything = [await receive() for _ in range(7)]

    assert [event["id"] for event in [*seen, *missed]] == [event["id"] for event in everything]


@both
async def test_a_token_of_another_log_is_answered_with_one_resync_and_then_events(open_events: Open) -> None:
    async with api_harness() as one, open_events(one) as receive:
        await receive()
        await one.append(channel(), Chat().received("one"))
        token = (await receive())["resume"]
    async with api_harness(seed=1) as two:
        await two.append(channel(), Chat(5).received("another"))
        async with open_events(two, f"resume={token}") as receive:
            resync = await receive()
            assert resync["type"] == "resync"
            assert resync["reason"]
            await two.call("/conversations.list", {}, x_airy_position=resync["position"])
            await two.call("/tags.create", {"name": "urgent", "color": "tag-red"}, 201)
            assert (await receive())["type"] == "tag.updated"


@both
async def test_a_scope_is_given_by_kind_conversation_and_channel(open_events: Open) -> None:
    one, two = Chat(1), Chat(2)
    query = f"kind=message.created,MESSAGE_UPDATED&conversation_id={one.conversation_id.upper()}"
    async with api_harness() as api, open_events(api, query) as receive:
        await receive()
        await api.append(channel(), two.received("other"), one.received("wanted"))

        event = await receive()
        assert event["type"] == "message.created"
        assert event["payload"]["conversation_id"] == one.conversation_id


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("kind=message.sent", "kind"),
        ("conversation_id=42", "conversation_id"),
        ("channel_id=42", "channel_id"),
        ("resume=ARgA", "resume"),
        ("since=5", "since"),
        ("kind=" + ",".join(["tag.updated"] * 101), "kind"),
    ],
)
async def test_a_wrong_query_is_a_400_before_anything_is_sent(query: str, field: str) -> None:
    async with api_harness() as api:
        async with open_websocket(api.app, "/events", AUTHORIZED, query=query) as socket:
            assert socket.rejection is not None
            assert socket.rejection.status == 400
            assert socket.rejection.json()["fields"][0]["field"] == field
        async with open_event_stream(api.app, "/events", AUTHORIZED, query=query) as stream:
            assert stream.status == 400
            assert msgspec.json.decode(stream.body)["fields"][0]["field"] == field


# --- the websocket


@pytest.mark.parametrize(
    "headers", [[], [("authorization", "Bearer wrong")], [*AUTHORIZED, ("origin", "https://evil")]]
)
async def test_a_websocket_needs_credentials_and_an_allowed_origin(headers: list[tuple[str, str]]) -> None:
    async with api_harness() as api, open_websocket(api.app, "/events", headers) as socket:
        assert socket.rejection is not None
        assert socket.rejection.status == 403


class Revocable:
    valid = True

    async def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
        return Caller("c", frozenset({Permission.READ})) if self.valid else None


async def test_revoked_credentials_end_the_websocket_and_the_stream() -> None:
    tokens = Revocable()
    async with (
        api_harness(authenticators=[tokens]) as api,
        open_websocket(api.app, "/events") as socket,
        open_event_stream(api.app, "/events") as stream,
    ):
        await socket.receive()
        await stream.receive()
        tokens.valid = False
        with anyio.fail_after(61):
            assert await socket.closed() == 1008
            assert await stream.ended()


class Limited:
    """Authenticates, and from then on only says that there are too many requests."""

    calls = 0

    async def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
        self.calls += 1
        if self.calls > 2:
            raise Problem(429, "too many requests of this caller")
        return Caller("c", frozenset({Permission.READ}))


async def test_a_rate_limit_does_not_end_what_was_authorised() -> None:
    async with (
        api_harness(authenticators=[Limited()]) as api,
        open_websocket(api.app, "/events") as socket,
        open_event_stream(api.app, "/events") as stream,
    ):
        await socket.receive()
        await stream.receive()
        await anyio.sleep(200)
        await api.append(channel())
        assert (await socket.receive_json())["type"] == "channel.updated"
        assert (await stream.receive()).data["type"] == "channel.updated"


async def test_what_a_client_sends_is_ignored_and_a_slow_one_is_closed_with_a_reason() -> None:
    limits = FeedLimits(queue_items_max=4, send_s_max=3.0)
    async with api_harness(feed_limits=limits) as api, open_websocket(api.app, "/events", AUTHORIZED) as socket:
        await socket.send("ping")
        await socket.receive()
        await api.append(channel(), *(Chat(number).received("hello") for number in range(100)))
        await anyio.sleep(10)

        texts, code, reason = await socket.read_until_closed()
        assert (code, reason) == (1013, "the client did not read for 3 s")
    async with api_harness() as api:
        assert msgspec.json.decode(texts[-1])["resume"]


# --- server-sent events


async def test_a_stream_is_not_cached_and_not_buffered_by_proxies() -> None:
    async with api_harness() as api:
        headers = [*AUTHORIZED, ("origin", ORIGIN)]
        async with open_event_stream(api.app, "/events", headers) as stream:
            assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert stream.headers["cache-control"] == "no-store"
            assert stream.headers["x-accel-buffering"] == "no"
            assert stream.headers["access-control-allow-origin"] == ORIGIN


async def test_the_last_event_id_of_a_browser_wins_over_the_query() -> None:
    async with api_harness() as api:
        async with open_event_stream(api.app, "/events", AUTHORIZED) as stream:
            first = await stream.receive()
            await api.append(channel())
            second = await stream.receive()
        headers = [*AUTHORIZED, ("last-event-id", second.id)]
        async with open_event_stream(api.app, "/events", headers, query=f"resume={first.id}") as stream:
            assert (await stream.receive()).event == "ready"


async def test_an_idle_stream_is_kept_alive() -> None:
    async with api_harness() as api, open_event_stream(api.app, "/events", AUTHORIZED) as stream:
        await stream.receive()
        await anyio.sleep(60)
        await api.append(channel())
        await stream.receive()
        assert 3 <= stream.comments <= 4


async def test_a_request_that_accepts_no_stream_is_a_406() -> None:
    async with api_harness() as api:
        answer = await call(api.app, "GET", "/events", headers=[*AUTHORIZED, ("accept", "application/json")])
        assert answer.status == 406
        assert (await call(api.app, "POST", "/events", headers=AUTHORIZED)).status == 405


async def test_a_stream_needs_credentials() -> None:
    async with api_harness() as api, open_event_stream(api.app, "/events") as stream:
        assert stream.status == 403


async def test_streams_and_clients_beyond_the_limits_are_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    async with api_harness(feed_limits=FeedLimits(subscribers_max=1)) as api:
        async with open_event_stream(api.app, "/events", AUTHORIZED) as first:
            await first.receive()
            async with open_event_stream(api.app, "/events", AUTHORIZED) as second:
                assert (second.status, second.headers["retry-after"]) == (503, "1")
            async with open_websocket(api.app, "/events", AUTHORIZED) as third:
                assert await third.closed() == 1013
        monkeypatch.setattr(event_stream, "STREAMS_MAX", 0)
        async with open_event_stream(api.app, "/events", AUTHORIZED) as second:
            assert second.status == 503


async def test_a_page_of_an_allowed_origin_may_send_the_last_event_id_itself() -> None:
    """As clients do that need a header for their token, which an `EventSource` cannot send."""
    async with api_harness() as api:
        headers = [("origin", ORIGIN), ("access-control-request-method", "GET")]
        answer = await call(api.app, "OPTIONS", "/events", headers=headers)
        allowed = answer.headers["access-control-allow-headers"].split(", ")
        assert {"authorization", "last-event-id"} <= set(allowed)
