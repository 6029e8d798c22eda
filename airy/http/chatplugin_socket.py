"""`/ws.chatplugin`: what a visitor of a chat plugin wrote and what agents answer, as STOMP messages.

A visitor authenticates with the token of a visit, in CONNECT or at the handshake. Every socket of a visitor gets every
message. A message of an agent counts as delivered once it was written to one of them; those that wait are sent at the
next subscription, so one may arrive twice, and none is lost.
"""

from collections import deque
from collections.abc import Callable

import anyio
import msgspec

from airy.actors.change_feed import SlowClient
from airy.actors.feed_subscriber import FeedEvent, FeedItem, FeedScope, MarkKind
from airy.commands import TooManyRequests, Visit, VisitorCommands
from airy.errors import Refused, Unavailable
from airy.http.auth import Permission, forbidden
from airy.http.ports import ApiContext
from airy.http.problems import Problem, problem_of
from airy.http.stomp.session import SUBPROTOCOLS, SessionSettings
from airy.http.stomp.socket import Deliver, StompMessage, Unsendable, message_rest, serve_stomp
from airy.http.visitor_directory import visit_of
from airy.http.websocket import WebsocketRoute, WebsocketSession
from airy.model.change import ChangeKind
from airy.model.conversation import Message
from airy.sources.chatplugin.message import ChangedMessage, news, visitor_message
from airy.task_group import task_group

QUEUE = "/user/queue/message"
SETTINGS = SessionSettings(destinations=(QUEUE,), subscriptions_max=4)
KINDS = frozenset({ChangeKind.MESSAGE_CREATED, ChangeKind.MESSAGE_UPDATED})
SOCKET_RETRY_S = 30.0  # by then a socket whose browser is gone was closed
RECENT_MAX = 256  # ids of messages a subscription was sent, so that a later change of one does not repeat it


class ChatPluginEndpoint:
    settings = SETTINGS

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self._visitors = api.commands.visitors
        self._visit: Visit | None = None

    async def authenticate(self, session: WebsocketSession, authorization: str | None) -> None:
        try:
            if authorization is not None:
                await session.authorise(authorization)
            visit = await self._checked(session)
            self._visitors.limit_requests(visit)
            settings = self._visitors.settings
            if settings.sockets[visit.conversation_id] >= settings.sockets_max:
                text = f"a visitor has at most {settings.sockets_max} sockets"
                raise TooManyRequests(text, retry_after_s=SOCKET_RETRY_S)
        except Unavailable as error:
            raise problem_of(error) from error
        settings.sockets[visit.conversation_id] += 1
        self._visit = visit

    async def still_authenticated(self, session: WebsocketSession) -> bool:
        if not await session.still_authorised():
            return False
        try:
            await self._checked(session)
        except Problem:
            return False
        return True

    async def follow(self, destination: str, deliver: Deliver, ready: Callable[[], None]) -> None:
        del destination  # there is one
        assert self._visit is not None
        subscription = _VisitorSubscription(self._visitors, self._visit, deliver, ready)
        scope = FeedScope(kinds=KINDS, conversations=frozenset({self._visit.conversation_id}))
        try:
            async with task_group() as tasks:
                tasks.start_soon(subscription.report_deliveries)
                await self._api.changes.follow(scope, None, subscription.take)
        except SlowClient as error:
            raise Unsendable(503, str(error)) from error
        except Unavailable as error:
            ready()
            raise Unsendable(503, str(error)) from error

    def end(self) -> None:
        if self._visit is not None:
            sockets = self._visitors.settings.sockets
            sockets[self._visit.conversation_id] -= 1
            if not sockets[self._visit.conversation_id]:
                del sockets[self._visit.conversation_id]

    async def _checked(self, session: WebsocketSession) -> Visit:
        """Raises `Problem` 403, of which the client is told 401: the widget begins anew then."""
        visit = visit_of(session.caller)
        if visit is None:
            raise forbidden()
        try:
            await self._visitors.channel(visit.channel_id, session.origin)
        except Refused as error:
            raise forbidden() from error
        return visit


class _VisitorSubscription:
    def __init__(self, visitors: VisitorCommands, visit: Visit, deliver: Deliver, ready: Callable[[], None]) -> None:
        self._visitors = visitors
        self._visit = visit
        self._deliver = deliver
        self._ready = ready
        self._recent: deque[str] = deque(maxlen=RECENT_MAX)
        self._delivered: list[str] = []  # not reported yet
        self._wake = anyio.Event()

    async def take(self, item: FeedItem) -> None:
        if isinstance(item, FeedEvent):
            message = news(item.stored.change)
            if message is not None:
                await self._send(message, item.read_position)
        elif item.kind is MarkKind.READY:
            self._ready()
            for each in await self._visitors.undelivered(self._visit.conversation_id):
                await self._send(each, item.read_position)
        elif item.kind is MarkKind.RESYNC:
            raise Unsendable(503, "messages were missed; connect again")

    async def report_deliveries(self) -> None:
        """Beside sending, which does not wait for the log."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            reported, self._delivered = self._delivered, []
            await self._visitors.deliver(self._visit, reported)

    async def _send(self, message: Message | ChangedMessage, position: str) -> None:
        if message.id in self._recent:
            return
        self._recent.append(message.id)
        document = {
            "conversation_id": self._visit.conversation_id,
            "channel_id": self._visit.channel_id,
            "message": visitor_message(message),
        }
        body = msgspec.json.encode(document)
        await self._deliver(StompMessage(message_rest(QUEUE, message.id, body, ("x-airy-position", position)), {}))
        if not message.from_contact:
            self._delivered.append(message.id)
            self._wake.set()


async def serve(api: ApiContext, session: WebsocketSession) -> None:
    endpoint = ChatPluginEndpoint(api)
    try:
        await serve_stomp(session, endpoint)
    finally:
        endpoint.end()


ROUTE = WebsocketRoute(
    path_template="/ws.chatplugin",
    permission=Permission.VISIT,
    summary="The messages of a visitor's conversation as STOMP messages of the destination /user/queue/message.",
    handler=serve,
    subprotocols=SUBPROTOCOLS,
    any_origin=True,
    authenticates_later=True,
)
