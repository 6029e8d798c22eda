"""A STOMP session at the server as a state machine: frames and outcomes in, effects out. Pure.

`TRANSITIONS` is the whole protocol: a command that is not in it for the present phase is an error. The effects are
carried out by `airy.http.stomp.socket`. An ERROR ends the session; its `message` starts with a status code, because
clients of the original look for `401` in it.
"""

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum

from msgspec import Struct

from airy.http.stomp.frame import Frame, Version

VERSIONS: tuple[Version, ...] = ("1.0", "1.1", "1.2")
SUBPROTOCOLS = ("v12.stomp", "v11.stomp", "v10.stomp")  # in the order of preference

CLOSE_NORMAL = 1000
CLOSE_PROTOCOL_ERROR = 1002

HEART_BEAT_MS_MAX = 3_600_000


class Phase(StrEnum):
    OPENED = "opened"  # waits for CONNECT
    AUTHENTICATING = "authenticating"  # waits for `on_authenticated`
    CONNECTED = "connected"
    CLOSED = "closed"


class Send(Struct, frozen=True):
    frame: Frame


class Authenticate(Struct, frozen=True):
    """To be answered with `on_authenticated` before the next frame. None: CONNECT has no `Authorization`."""

    authorization: str | None


class Subscribe(Struct, frozen=True):
    id: str
    destination: str


class Unsubscribe(Struct, frozen=True):
    id: str


class Close(Struct, frozen=True):
    code: int
    reason: str = ""


Effect = Send | Authenticate | Subscribe | Unsubscribe | Close
Effects = list[Effect]


class SessionSettings(Struct, frozen=True, kw_only=True):
    destinations: Collection[str]  # that may be subscribed to
    send_ms: int = 30_000  # the heart-beats the server can send
    receive_ms: int = 30_000  # the heart-beats it wants
    subscriptions_max: int = 16


class StompSession:
    """`send_every_ms` and `receive_every_ms` are the agreed heart-beats, 0 without."""

    def __init__(self, settings: SessionSettings) -> None:
        self.settings = settings
        self.phase = Phase.OPENED
        self.version: Version = "1.0"
        self.send_every_ms = 0
        self.receive_every_ms = 0
        self.subscriptions: dict[str, str] = {}  # id: destination

    def on_frame(self, frame: Frame) -> Effects:
        rule = TRANSITIONS.get((self.phase, frame.command))
        if rule is not None:
            return rule(self, frame)
        if self.phase is Phase.OPENED:
            return self.fail(401, "the session begins with CONNECT", frame)
        return self.fail(400, f"{frame.command} is not understood here", frame)

    def on_authenticated(self, *, accepted: bool) -> Effects:
        """The outcome of `Authenticate`."""
        if not accepted:
            return self.fail(401, "no valid token, or the permission is missing")
        self.phase = Phase.CONNECTED
        headers = {"version": self.version, "server": "airy"}
        if self.version != "1.0":
            headers["heart-beat"] = f"{self.settings.send_ms},{self.settings.receive_ms}"
        return [Send(Frame("CONNECTED", headers))]

    def fail(self, status: int, text: str, frame: Frame | None = None, *, retry_after_s: str | None = None) -> Effects:
        """An ERROR about `frame`, and the end of the session. `retry_after_s` becomes its header `retry-after`."""
        if self.phase is Phase.CLOSED:
            return []
        self.phase = Phase.CLOSED
        message = f"{status} {text}"
        headers = {"message": message, "content-type": "text/plain"}
        if frame is not None and "receipt" in frame.headers:
            headers["receipt-id"] = frame.headers["receipt"]
        if retry_after_s is not None:
            headers["retry-after"] = retry_after_s
        return [Send(Frame("ERROR", headers, message.encode())), Close(CLOSE_PROTOCOL_ERROR, message)]


# --- the rules of `TRANSITIONS`


def _connect(session: StompSession, frame: Frame) -> Effects:
    wanted = [version.strip() for version in frame.headers.get("accept-version", "1.0").split(",")]
    version = next((each for each in reversed(VERSIONS) if each in wanted), None)
    if version is None:
        failed = session.fail(400, f"supported versions are {', '.join(VERSIONS)}", frame)
        return [_with_header(each, "version", ",".join(VERSIONS)) for each in failed]
    beats = _heart_beats(frame.headers.get("heart-beat", "0,0"))
    if beats is None:
        return session.fail(400, "heart-beat is two numbers of milliseconds", frame)
    session.version = version
    client_sends, client_wants = beats
    settings = session.settings
    session.send_every_ms = max(settings.send_ms, client_wants) if settings.send_ms and client_wants else 0
    session.receive_every_ms = max(settings.receive_ms, client_sends) if settings.receive_ms and client_sends else 0
    session.phase = Phase.AUTHENTICATING
    return [Authenticate(_authorization(frame.headers))]


def _subscribe(session: StompSession, frame: Frame) -> Effects:
    destination = frame.headers.get("destination")
    subscription = frame.headers.get("id", destination if session.version == "1.0" else None)
    if destination is None or subscription is None:
        return session.fail(400, "SUBSCRIBE needs the headers destination and id", frame)
    if destination not in session.settings.destinations:
        known = ", ".join(sorted(session.settings.destinations))
        return session.fail(404, f"no such destination; there is {known}", frame)
    if subscription in session.subscriptions:
        return session.fail(400, "a subscription with this id exists", frame)
    if len(session.subscriptions) >= session.settings.subscriptions_max:
        return session.fail(429, f"more than {session.settings.subscriptions_max} subscriptions", frame)
    session.subscriptions[subscription] = destination
    return [Subscribe(subscription, destination), *_receipt(frame)]


def _unsubscribe(session: StompSession, frame: Frame) -> Effects:
    """STOMP 1.0 may name the destination instead of an id.

    An id without a subscription has no effect, as at the original's broker: the session already is as the client wants
    it, and an ERROR would end it.
    """
    subscription = frame.headers.get("id", frame.headers.get("destination") if session.version == "1.0" else None)
    if subscription is None:
        return session.fail(400, "UNSUBSCRIBE needs the header id", frame)
    if session.subscriptions.pop(subscription, None) is None:
        return _receipt(frame)
    return [Unsubscribe(subscription), *_receipt(frame)]


def _send(session: StompSession, frame: Frame) -> Effects:
    """The original relays it to every subscriber, as if the server had sent it."""
    return session.fail(403, "clients send through the HTTP API", frame)


def _disconnect(session: StompSession, frame: Frame) -> Effects:
    session.phase = Phase.CLOSED
    return [*_receipt(frame), Close(CLOSE_NORMAL)]


def _acknowledge(_session: StompSession, frame: Frame) -> Effects:
    """Acknowledgements and transactions have no effect on what is sent."""
    return _receipt(frame)


Rule = Callable[[StompSession, Frame], Effects]

TRANSITIONS: Mapping[tuple[Phase, str], Rule] = {
    (Phase.OPENED, "CONNECT"): _connect,
    (Phase.OPENED, "STOMP"): _connect,
    (Phase.CONNECTED, "SUBSCRIBE"): _subscribe,
    (Phase.CONNECTED, "UNSUBSCRIBE"): _unsubscribe,
    (Phase.CONNECTED, "SEND"): _send,
    (Phase.CONNECTED, "DISCONNECT"): _disconnect,
    **{(Phase.CONNECTED, command): _acknowledge for command in ("ACK", "NACK", "BEGIN", "COMMIT", "ABORT")},
}


def _receipt(frame: Frame) -> Effects:
    receipt = frame.headers.get("receipt")
    return [] if receipt is None else [Send(Frame("RECEIPT", {"receipt-id": receipt}))]


def _with_header(effect: Effect, name: str, value: str) -> Effect:
    if not isinstance(effect, Send):
        return effect
    return Send(Frame(effect.frame.command, {**effect.frame.headers, name: value}, effect.frame.body))


def _authorization(headers: Mapping[str, str]) -> str | None:
    """Clients spell the header as they like."""
    return next((value for name, value in headers.items() if name.lower() == "authorization"), None)


def _heart_beats(text: str) -> tuple[int, int] | None:
    """What the client sends and wants, in ms."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts):
        return None
    sends, wants = (min(int(part), HEART_BEAT_MS_MAX) for part in parts)
    return sends, wants
