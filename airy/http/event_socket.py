"""`/events` as a websocket: one JSON text per event. What the client sends is ignored."""

import anyio

from airy.actors.change_feed import SlowClient
from airy.actors.feed_subscriber import FeedItem
from airy.errors import AiryError, Unavailable
from airy.http.auth import AUTHORISE_S, Permission
from airy.http.event_frames import json_text
from airy.http.event_query import EventQuery, parse
from airy.http.ports import ApiContext
from airy.http.websocket import CLOSE_POLICY_VIOLATION, CLOSE_TRY_AGAIN_LATER, WebsocketRoute, WebsocketSession
from airy.task_group import task_group


class CredentialsInvalid(AiryError):
    """The token or session was revoked, or has expired."""


async def serve(api: ApiContext, session: WebsocketSession) -> None:
    query: EventQuery = session.query

    async def send(item: FeedItem) -> None:
        await session.send(json_text(item))

    try:
        async with task_group() as tasks:
            tasks.start_soon(_keep_authorised, session)
            tasks.start_soon(_receive, session)
            await api.changes.follow(query.scope, query.resume, send)
    except (SlowClient, Unavailable) as error:
        await session.close(CLOSE_TRY_AGAIN_LATER, str(error))
    except CredentialsInvalid as error:
        await session.close(CLOSE_POLICY_VIOLATION, str(error))


async def _receive(session: WebsocketSession) -> None:
    """Until the client disconnects: raises `WebsocketClosed`."""
    while True:
        await session.receive()


async def _keep_authorised(session: WebsocketSession) -> None:
    """Raises `CredentialsInvalid` once they are."""
    while True:
        await anyio.sleep(AUTHORISE_S)
        if not await session.still_authorised():
            raise CredentialsInvalid("the token or session is not valid any more")


ROUTE = WebsocketRoute(
    path_template="/events",
    permission=Permission.READ,
    summary="All events, or those of a scope, as JSON texts; continues at a position.",
    handler=serve,
    parse_query=parse,
)
