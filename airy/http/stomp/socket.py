"""Runs a STOMP session over a websocket: carries out the effects of `session`, keeps time, and sends messages.

One task receives, and one per subscription sends. Destinations and authentication are up to a `StompEndpoint`, so
that every STOMP websocket of Airy shares this module.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
from anyio.abc import TaskGroup, TaskStatus
from msgspec import Struct

from airy.errors import AiryError, Unavailable
from airy.http.auth import AUTHORISE_S
from airy.http.problems import Problem, problem_of
from airy.http.stomp.frame import Frame, FrameDecoder, FrameError, encode, escape
from airy.http.stomp.session import (
    CLOSE_PROTOCOL_ERROR,
    Authenticate,
    Close,
    Effect,
    Effects,
    Phase,
    Send,
    SessionSettings,
    StompSession,
    Subscribe,
    Unsubscribe,
)
from airy.http.websocket import CLOSE_TRY_AGAIN_LATER, WebsocketClosed, WebsocketSession
from airy.task_group import task_group

HEART_BEAT = "\n"
CONNECT_S = 10.0  # from the handshake to CONNECT
ERROR_S = 2.0  # for an ERROR that a slow client may not read
SILENT_BEATS = 2  # missed heart-beats after which the client counts as gone


class StompMessage(Struct, frozen=True):
    """`rest` is everything of a MESSAGE behind its header `subscription`. `texts` keeps what is encoded for one
    subscription: subscriptions of many sessions have the same id.
    """

    rest: str
    texts: dict[str, str]


Deliver = Callable[[StompMessage], Awaitable[None]]


class Unsendable(AiryError):
    """Messages of a subscription cannot be sent any further: the session ends, and the client may connect again."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class StompEndpoint(Protocol):
    @property
    def settings(self) -> SessionSettings: ...
    async def authenticate(self, session: WebsocketSession, authorization: str | None, /) -> None:
        """Called with the `Authorization` of CONNECT. Raises `Problem`, `Unavailable`."""
        ...

    async def still_authenticated(self, session: WebsocketSession, /) -> bool:
        """Called from time to time: credentials may have expired or been revoked. Raises `Unavailable`."""
        ...

    async def follow(self, destination: str, deliver: Deliver, ready: Callable[[], None], /) -> None:
        """Deliver the messages of a destination until cancelled. Calls `ready`, once or more often, when no message
        will be missed any more, and before it raises `Unsendable`.
        """
        ...


def message_rest(destination: str, message_id: str, body: bytes, *headers: tuple[str, str]) -> str:
    """The text of a MESSAGE behind its header `subscription`. Values must need no escape."""
    given = (
        ("destination", destination),
        ("message-id", message_id),
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        *headers,
    )
    lines = "\n".join(f"{name}:{value}" for name, value in given)
    return f"{lines}\n\n{body.decode()}\0"


async def serve_stomp(session: WebsocketSession, endpoint: StompEndpoint) -> None:
    """Until the session ends; closes it."""
    socket = _Socket(session, endpoint)
    async with task_group() as tasks:
        await socket.receive_all(tasks)
        tasks.cancel_scope.cancel()
    await socket.end()


class _Socket:
    def __init__(self, session: WebsocketSession, endpoint: StompEndpoint) -> None:
        self._session = session
        self._endpoint = endpoint
        self._stomp = StompSession(endpoint.settings)
        self._decoder = FrameDecoder(body_bytes_max=session.message_bytes_max)
        self._subscriptions: dict[str, anyio.CancelScope] = {}
        self._last_effects: Effects = []  # ERROR and close, once the session has failed
        self._close = Close(CLOSE_PROTOCOL_ERROR)
        now = anyio.current_time()
        self._opened_at = self._authorised_at = self._received_at = self._beat_at = now
        self._sent = False  # since the last look at the time

    async def receive_all(self, tasks: TaskGroup) -> None:
        while self._stomp.phase is not Phase.CLOSED:
            content: bytes | None = None
            with anyio.move_on_at(self._next_look()):
                content = await self._session.receive()
            if content is None:
                await self._look_at_time()
                continue
            self._received_at = anyio.current_time()
            await self._receive(content, tasks)

    async def _receive(self, content: bytes, tasks: TaskGroup) -> None:
        try:
            self._decoder.feed(content)
            while self._stomp.phase is not Phase.CLOSED and (frame := self._decoder.next()) is not None:
                for effect in self._stomp.on_frame(frame):
                    await self._perform(effect, tasks)
        except FrameError as error:
            self._fail(400, str(error))

    async def _perform(self, effect: Effect, tasks: TaskGroup) -> None:
        match effect:
            case Send(frame) if frame.command == "ERROR":
                self._last_effects = [effect]
            case Send(frame):
                await self._send(frame)
            case Authenticate(authorization):
                for outcome in await self._authenticate(authorization):
                    await self._perform(outcome, tasks)
            case Subscribe(subscription, destination):
                await tasks.start(self._follow, tasks, subscription, destination)
            case Unsubscribe(subscription):
                self._subscriptions.pop(subscription).cancel()
            case Close():
                self._close = effect

    async def _authenticate(self, authorization: str | None) -> Effects:
        self._decoder.version = self._stomp.version
        self._authorised_at = anyio.current_time()
        try:
            await self._endpoint.authenticate(self._session, authorization)
        except (Problem, Unavailable) as error:
            problem = problem_of(error)
            if problem.status != 403:
                retry_after_s = dict(problem.headers).get(b"retry-after", b"").decode() or None
                return self._stomp.fail(problem.status, problem.message, retry_after_s=retry_after_s)
            return self._stomp.on_authenticated(accepted=False)
        return self._stomp.on_authenticated(accepted=True)

    # --- time

    def _next_look(self) -> float:
        if self._stomp.phase is not Phase.CONNECTED:
            return self._opened_at + CONNECT_S
        due = [self._authorised_at + AUTHORISE_S]
        if self._stomp.send_every_ms:
            due.append(self._beat_at + self._beat_s)
        if self._stomp.receive_every_ms:
            due.append(self._silent_at)
        return min(due)

    @property
    def _beat_s(self) -> float:
        """Half of what was agreed on, so that no gap is longer than that."""
        return self._stomp.send_every_ms / 2_000

    @property
    def _silent_at(self) -> float:
        return self._received_at + SILENT_BEATS * self._stomp.receive_every_ms / 1_000

    async def _look_at_time(self) -> None:
        now = anyio.current_time()
        if self._stomp.phase is not Phase.CONNECTED:
            self._fail(408, f"no CONNECT within {CONNECT_S:g} s")
        elif self._stomp.receive_every_ms and now >= self._silent_at:
            self._fail(408, "the client sends no heart-beats")
        else:
            if now >= self._authorised_at + AUTHORISE_S:
                await self._reauthenticate(now)
            if self._stomp.send_every_ms and now >= self._beat_at + self._beat_s:
                self._beat_at = now
                if not self._sent:
                    await self._session.send(HEART_BEAT)
                self._sent = False

    async def _reauthenticate(self, now: float) -> None:
        self._authorised_at = now
        try:
            valid = await self._endpoint.still_authenticated(self._session)
        except Unavailable:  # checked again later
            return
        if not valid:
            self._fail(401, "the token or session is not valid any more")

    # --- to the client

    async def _follow(
        self, tasks: TaskGroup, subscription: str, destination: str, *, task_status: TaskStatus[None]
    ) -> None:
        """One subscription. Failing, it ends the session."""
        head = f"MESSAGE\nsubscription:{escape(subscription, self._stomp.version)}\n"

        async def deliver(message: StompMessage) -> None:
            text = message.texts.get(head)
            if text is None:
                text = message.texts[head] = head + message.rest
            self._sent = True
            await self._session.send(text)

        started = False

        def ready() -> None:
            nonlocal started
            if not started:
                started = True
                task_status.started()

        with anyio.CancelScope() as scope:
            self._subscriptions[subscription] = scope
            try:
                await self._endpoint.follow(destination, deliver, ready)
            except Unsendable as error:
                self._fail(error.status, str(error), CLOSE_TRY_AGAIN_LATER)
                tasks.cancel_scope.cancel()

    async def _send(self, frame: Frame) -> None:
        self._sent = True
        await self._session.send(encode(frame, self._stomp.version).decode())

    def _fail(self, status: int, text: str, code: int = CLOSE_PROTOCOL_ERROR) -> None:
        for effect in self._stomp.fail(status, text):
            if isinstance(effect, Send):
                self._last_effects = [effect]
                self._close = Close(code, f"{status} {text}")

    async def end(self) -> None:
        with anyio.move_on_after(ERROR_S):
            try:
                for effect in self._last_effects:
                    if isinstance(effect, Send):
                        await self._send(effect.frame)
            except (WebsocketClosed, FrameError):
                pass
        await self._session.close(self._close.code, self._close.reason)
