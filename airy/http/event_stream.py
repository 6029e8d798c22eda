"""`GET /events` with `Accept: text/event-stream`: the same events as server-sent events (HTML standard, section 9.2).

The response starts with the first event or mark, so that a process that cannot serve answers 503 instead.
"""

from typing import Any, cast

import anyio
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from airy.actors.change_feed import SlowClient
from airy.actors.feed_subscriber import FeedItem
from airy.errors import Unavailable
from airy.http.asgi import RawHeaders, Receive, Send
from airy.http.auth import AUTHORISE_S, PERMISSION, Guard, Permission, is_authorised
from airy.http.event_frames import KEEP_ALIVE, server_sent_text
from airy.http.event_query import PARAMETERS, EventQuery, parse
from airy.http.ports import ApiContext
from airy.http.problems import Problem, unavailable
from airy.http.resource import StreamRoute
from airy.task_group import task_group

MEDIA_TYPE = b"text/event-stream"
HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
STREAMS_MAX = 500  # at once in this process: each holds a connection of the HTTP server, whose number is limited
KEEP_ALIVE_S = 15.0
END_S = 1.0  # for the end of the response to a client that may not read


class EventStreams:
    """The open streams of a process."""

    def __init__(self, api: ApiContext, guard: Guard) -> None:
        self.api = api
        self.guard = guard
        self.open = 0


def route(api: ApiContext, guard: Guard) -> HTTPRouteHandler:
    streams = EventStreams(api, guard)

    @get(ROUTE.path, opt={PERMISSION: ROUTE.permission})
    async def events(request: Request[Any, Any, Any]) -> ASGIResponse:
        headers = cast("RawHeaders", request.scope["headers"])
        accepted = b",".join(value for name, value in headers if name == b"accept")
        if MEDIA_TYPE not in accepted:
            raise Problem(406, "this is a websocket, or with Accept: text/event-stream a stream of events")
        last = next((value.decode("latin-1") for name, value in headers if name == b"last-event-id"), None)
        query = parse(request.scope["query_string"].decode("latin-1"), last)
        if streams.open >= STREAMS_MAX:
            raise unavailable("too many streams of events are open")
        return EventStreamResponse(streams, query, headers)

    return events


class EventStreamResponse(ASGIResponse):
    def __init__(self, streams: EventStreams, query: EventQuery, headers: RawHeaders) -> None:
        super().__init__()
        self._streams = streams
        self._query = query
        self._headers = headers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        del scope
        self._streams.open += 1
        try:
            await _Stream(self._streams, self._query, self._headers, receive, send).run()
        finally:
            self._streams.open -= 1


class _Stream:
    def __init__(
        self, streams: EventStreams, query: EventQuery, headers: RawHeaders, receive: Receive, send: Send
    ) -> None:
        self._streams = streams
        self._query = query
        self._headers = headers
        self._receive = receive
        self._send = send
        self._started = False
        self._sent = False  # since the last keep-alive

    async def run(self) -> None:
        try:
            async with task_group() as tasks:
                tasks.start_soon(self._until_disconnected, tasks.cancel_scope)
                tasks.start_soon(self._until_unauthorised, tasks.cancel_scope)
                tasks.start_soon(self._keep_alive)
                await self._streams.api.changes.follow(self._query.scope, self._query.resume, self._send_item)
        except (SlowClient, Unavailable):
            if not self._started:
                raise
        with anyio.move_on_after(END_S):
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_item(self, item: FeedItem) -> None:
        if not self._started:
            self._started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
        await self._send_text(server_sent_text(item))

    async def _send_text(self, text: str) -> None:
        self._sent = True
        await self._send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def _until_disconnected(self, scope: anyio.CancelScope) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _until_unauthorised(self, scope: anyio.CancelScope) -> None:
        guard = self._streams.guard
        while True:
            await anyio.sleep(AUTHORISE_S)
            if not await is_authorised(lambda: guard.authorised(self._headers, ROUTE.permission)):
                scope.cancel()

    async def _keep_alive(self) -> None:
        """A comment from time to time, so that proxies do not take the response for stalled."""
        while True:
            await anyio.sleep(KEEP_ALIVE_S)
            if self._started and not self._sent:
                await self._send_text(KEEP_ALIVE)
            self._sent = False


ROUTE = StreamRoute(
    path="/events",
    permission=Permission.READ,
    media_type=MEDIA_TYPE.decode(),
    summary="All events, or those of a scope, as server-sent events; continues at a position.",
    query=PARAMETERS,
    problems=(406,),
    make=route,
)
