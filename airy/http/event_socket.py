"""`/events` as a websocket: one JSON text per event. What the client sends is ignored."""

from contextlib import suppress

import anyio

from airy.actors.change_feed import SlowClient
from airy.actors.feed_subscriber import FeedItem
from airy.errors import Unavailable
from airy.http.auth import AUTHORISE_S, Permission
from airy.http.event_frames import json_text
from airy.http.event_query import EventQuery, parse
from airy.http.ports import ApiContext
from airy.http.websocket import (
    CLOSE_POLICY_VIOLATION,
    CLOSE_TRY_AGAIN_LATER,
    WebsocketClosed,
    WebsocketRoute,
    WebsocketSession,
)
from airy.task_group import task_group


async def serve(api: ApiContext, session: WebsocketSession) -> None:
    query: EventQuery = session.query

    async def send(item: FeedItem) -> None:
        await session.send(json_text(item))

    try:
        async with task_group() as tasks:
            tasks.start_soon(_until_unauthorised, session, tasks.cancel_scope)
            tasks.start_soon(_until_closed, session, tasks.cancel_scope)
            await api.changes.follow(query.scope, query.resume, send)
    except (SlowClient, Unavailable) as error:
        await session.close(CLOSE_TRY_AGAIN_LATER, str(error))


async def _until_closed(session: WebsocketSession, scope: anyio.CancelScope) -> None:
    """Ends `scope` when the client disconnects."""
    with suppress(WebsocketClosed):
        while True:
            await session.receive()
    scope.cancel()


async def _until_unauthorised(session: WebsocketSession, scope: anyio.CancelScope) -> None:
    """Ends the session and `scope` once the credentials are not valid any more."""
    while True:
        await anyio.sleep(AUTHORISE_S)
        if not await session.still_authorised():
            await session.close(CLOSE_POLICY_VIOLATION, "the token or session is not valid any more")
            scope.cancel()


ROUTE = WebsocketRoute(
    path_template="/events",
    permission=Permission.READ,
    summary="All events, or those of a scope, as JSON texts; continues at a position.",
    handler=serve,
    parse_query=parse,
)
