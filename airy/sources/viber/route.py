"""A callback of Viber becomes facts. Pure: a table of events, and a reader for each.

Ids hang on the message token, which is kept as text. `content` is the whole callback as Viber wrote it. A callback does
not name the bot: the record's key does.
"""

from collections.abc import Callable, Mapping

from msgspec import Raw, Struct

from airy.bus.record import Record
from airy.errors import Undecodable
from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import EventNoted, Fact, MessageReceived, ProfileResolved, ReceiptReported
from airy.sources import canonical, payload
from airy.sources.api import AccountKey, Channels, Routed, Uneventful
from airy.sources.fact_origin import FactOrigin, cause_of, fact_origin
from airy.sources.provider_time import EventTime, event_time
from airy.sources.viber import content

EVENT_LEVEL = 1
VOLATILE = frozenset({"timestamp", "chat_hostname"})  # members that may change when a callback comes again


class Callback(Struct, frozen=True):
    """One event. `user` is its contact."""

    name: str
    raw: Raw
    node: Mapping[str, object]
    members: Mapping[str, Raw]
    channel: Channel
    received_ms: int
    cause: str
    repaired: bool

    @property
    def user(self) -> Mapping[str, object]:
        person = payload.record(self.node.get("sender")) or payload.record(self.node.get("user"))
        return person or {"id": self.node.get("user_id")}

    @property
    def user_id(self) -> str | None:
        return payload.identifier(self.user.get("id"))

    @property
    def token(self) -> str | None:
        return payload.identifier(self.node.get("message_token"))

    def named(self) -> str:
        """The token, or what is told apart without one."""
        lasting = {name: part for name, part in self.node.items() if name not in VOLATILE}
        return self.token or payload.canonical(lasting)

    def time(self) -> EventTime:
        return event_time(self.received_ms, self.node.get("timestamp"))

    def about(self, conversation: str) -> FactOrigin:
        return fact_origin(self.channel, conversation, self.time().at_ms, self.cause)

    def derived(self, kind: str, *parts: object) -> str:
        return ids.derive(self.channel.id, f"{kind}:{payload.canonical(parts)}")


def route(record: Record, channels: Channels) -> Routed:
    """Raises `Undecodable`."""
    received = payload.read(record.value or b"", element_level=EVENT_LEVEL)
    members = payload.members(received.body)
    raw = Raw(received.body)
    node = payload.record(payload.value(raw))
    name = payload.text(node.get("event")) or "unknown"
    if name == "webhook":
        return Routed([], [], [], ["webhook is a check of the address"])
    account = record.key.decode("utf-8", "replace")
    channel = channels.by_account("viber", account)
    if channel is None:
        return Routed([], [AccountKey("viber", account)], [])
    cause, repaired = cause_of(record), received.repaired(raw)
    callback = Callback(name, raw, node, members, channel, record.timestamp_ms, cause, repaired)
    try:
        return Routed(READERS.get(name, _other)(callback), [], [])
    except Uneventful as reason:
        return Routed([], [], [], [f"{name} {reason}"])
    except Undecodable as error:
        return Routed([], [], [f"{name}: {error}"])


# --- messages


def _message(callback: Callback) -> list[Fact]:
    if "message" not in callback.node:
        raise Uneventful("holds no message")
    if not isinstance(callback.node["message"], dict):
        payload.members(callback.members["message"])  # raises, saying what it is instead
    headers = {}
    tapped = content.tapped(callback.node)
    if tapped is not None:
        headers["postback.payload"] = tapped
    return _received(callback, headers)


def _started(callback: Callback) -> list[Fact]:
    """The contact opened the chat, perhaps by a link with a context."""
    facts = _received(callback, {})
    context = payload.text(callback.node.get("context"))
    if context is not None:
        facts.append(_noted(callback, "referral", _conversation(callback), referral=context))
    return facts


def _received(callback: Callback, headers: dict[str, str]) -> list[Fact]:
    conversation = _conversation(callback)
    token, time = callback.token, callback.time()
    message_id = ids.message_id(callback.channel.id, callback.named()) if token is None else ids.derive("viber", token)
    repaired = {"content.repaired": "true"} if callback.repaired else {}
    message = MessageReceived(
        id=message_id,
        message_id=message_id,
        provider_id=token,
        participant_id=conversation,
        content=callback.raw,
        canonical=canonical.encode(content.canonical_of(callback.node)),
        headers=headers | repaired | time.headers,
        arrived_at_ms=callback.received_ms,
        **callback.about(conversation),
    )
    return [message, *_profile(callback, conversation)]


def _profile(callback: Callback, conversation: str) -> list[Fact]:
    name = (payload.text(callback.user.get("name")) or "").strip() or None
    avatar = payload.text(callback.user.get("avatar"))
    if name is None and avatar is None:
        return []
    return [
        ProfileResolved(
            id=callback.derived("profile", conversation, callback.named()),
            found=True,
            display_name=name,
            avatar_url=avatar,
            **callback.about(conversation),
        )
    ]


# --- receipts


def _receipt(callback: Callback) -> list[Fact]:
    """Viber reports a failure after it took the message, when the contact's app rejects its content."""
    token, state = callback.token, STATES[callback.name]
    if token is None or callback.user_id is None:
        raise Uneventful("names no message in message_token, or no user_id")
    failed = state is DeliveryState.FAILED
    said = payload.text(callback.node.get("desc")) or "Viber reports that the contact's app rejected the message"
    return [
        ReceiptReported(
            id=callback.derived("receipt", token, callback.name),
            state=state,
            provider_ids=(token,),
            error=said if failed else "",
            error_kind="invalid" if failed else "provider",
            **callback.about(callback.user_id),
        )
    ]


# --- everything else


def _subscribed(callback: Callback) -> list[Fact]:
    conversation = _conversation(callback)
    return [_noted(callback, "subscription.started", conversation), *_profile(callback, conversation)]


def _unsubscribed(callback: Callback) -> list[Fact]:
    return [_noted(callback, "subscription.ended", _conversation(callback))]


def _other(callback: Callback) -> list[Fact]:
    """What names no contact is kept under the bot itself."""
    conversation = callback.user_id or callback.channel.source_channel_id
    return [_noted(callback, f"event.{callback.name}", conversation)]


def _noted(callback: Callback, kind: str, conversation: str, *, referral: str | None = None) -> EventNoted:
    return EventNoted(
        id=callback.derived("event", kind, callback.named()),
        kind_at_source=kind,
        content=callback.raw,
        referral=referral,
        **callback.about(conversation),
    )


def _conversation(callback: Callback) -> str:
    if callback.user_id is None:
        raise Undecodable("names no contact")
    return callback.user_id


STATES = {"delivered": DeliveryState.DELIVERED, "seen": DeliveryState.READ, "failed": DeliveryState.FAILED}
READERS: Mapping[str, Callable[[Callback], list[Fact]]] = {
    "message": _message,
    "conversation_started": _started,
    "subscribed": _subscribed,
    "unsubscribed": _unsubscribed,
    **dict.fromkeys(STATES, _receipt),
}
