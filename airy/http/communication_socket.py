"""`/ws.communication`: all events as STOMP messages of the destination `/events`, for clients of the original.

A client authenticates itself at the handshake, by header or cookie, or with `Authorization` in CONNECT: browsers cannot
add a header to a handshake. The bodies of messages are those of webhooks.
"""

from collections.abc import Callable

from airy.actors.change_feed import ChangeFeed, SlowClient
from airy.actors.feed_subscriber import FeedEvent, FeedItem, FeedScope, MarkKind
from airy.errors import Unavailable
from airy.http.auth import Permission
from airy.http.ports import ApiContext
from airy.http.problems import Problem
from airy.http.resource import Resource
from airy.http.stomp.session import SUBPROTOCOLS, SessionSettings
from airy.http.stomp.socket import Deliver, StompMessage, Unsendable, message_rest, serve_stomp
from airy.http.websocket import WebsocketRoute, WebsocketSession

EVENTS = "/events"
EVERYTHING = FeedScope()
SETTINGS = SessionSettings(destinations=(EVENTS,))


class CommunicationEndpoint:
    settings = SETTINGS

    def __init__(self, feed: ChangeFeed) -> None:
        self._feed = feed

    async def authenticate(self, session: WebsocketSession, authorization: str | None) -> None:
        if authorization is not None:
            await session.authorise(authorization)
        elif session.caller is None:
            raise Problem(403, "forbidden")

    async def still_authenticated(self, session: WebsocketSession) -> bool:
        return await session.still_authorised()

    async def follow(self, destination: str, deliver: Deliver, ready: Callable[[], None]) -> None:
        del destination  # there is one

        async def send(item: FeedItem) -> None:
            if isinstance(item, FeedEvent):
                await deliver(StompMessage(rest_of(item), item.texts))
            elif item.kind is MarkKind.READY:
                ready()
            elif item.kind is MarkKind.RESYNC:
                raise Unsendable(503, "events were missed; connect again and read the state anew")

        try:
            await self._feed.follow(EVERYTHING, None, send)
        except SlowClient as error:
            raise Unsendable(503, str(error)) from error
        except Unavailable as error:
            ready()
            raise Unsendable(503, str(error)) from error


def rest_of(event: FeedEvent) -> str:
    rest = event.texts.get(EVENTS)
    if rest is None:
        change = event.stored.change
        position = ("x-airy-position", event.read_position)
        rest = event.texts[EVENTS] = message_rest(EVENTS, change.id, change.body, position)
    return rest


async def serve(api: ApiContext, session: WebsocketSession) -> None:
    await serve_stomp(session, CommunicationEndpoint(api.changes))


RESOURCE = Resource(
    name="communication-socket",
    component="api-websocket",
    websockets=(
        WebsocketRoute(
            path_template="/ws.communication",
            permission=Permission.READ,
            summary="All events as STOMP messages of the destination /events.",
            handler=serve,
            subprotocols=SUBPROTOCOLS,
            authenticates_later=True,
        ),
    ),
)
