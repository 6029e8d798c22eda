"""An event of RCS becomes facts. Pure: messages of a contact, events of a contact, and events of Google's servers.

A contact's messages and events have ids that the phone makes: two phones may make the same one. Receipts name a message
by our own id. `content` is the event inside the envelope as Google wrote it.
"""

from collections.abc import Callable, Mapping

from msgspec import Raw, Struct

from airy.bus.record import Record
from airy.errors import Undecodable
from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import EventNoted, Fact, MessageReceived, ReceiptReported
from airy.sources import canonical, payload
from airy.sources.api import AccountKey, Channels, Routed, Uneventful
from airy.sources.fact_origin import FactOrigin, cause_of, fact_origin
from airy.sources.provider_time import EventTime, event_time
from airy.sources.rcs import content, envelope

EVENT_LEVEL = 1
EMPTY_PAYLOAD = "__empty__"
VOLATILE = frozenset({"sendTime"})
EXPIRED = "the phone was not reached in time, and Google took the message back: use another channel"


class RcsEvent(Struct, frozen=True):
    kind: str  # `eventType`; empty: a message
    node: Mapping[str, object]
    raw: Raw
    channel: Channel
    conversation: str  # phone number
    received_ms: int
    cause: str
    repaired: bool

    def time(self) -> EventTime:
        return event_time(self.received_ms, self.node.get("sendTime"))

    def about(self) -> FactOrigin:
        return fact_origin(self.channel, self.conversation, self.time().at_ms, self.cause)

    def derived(self, kind: str, *parts: object) -> str:
        return ids.derive(self.channel.id, f"{kind}:{payload.canonical(parts)}")

    def named(self, name: str) -> str:
        """The id in member `name`, of this phone; or what the event says."""
        lasting = {each: part for each, part in self.node.items() if each not in VOLATILE}
        given = payload.text(self.node.get(name))
        return payload.canonical(lasting) if given is None else f"{self.conversation}:{given}"


def route(record: Record, channels: Channels) -> Routed:
    """Raises `Undecodable`."""
    received = payload.read(envelope.event_bytes(record.value or b""), element_level=EVENT_LEVEL)
    payload.members(received.body)  # raises unless it is an object
    raw = Raw(received.body)
    node = payload.record(payload.value(raw))
    agent = envelope.agent(node) or payload.text(record.key.decode("utf-8", "replace"))
    phone = payload.text(node.get("senderPhoneNumber")) or payload.text(node.get("phoneNumber"))
    if agent is None:
        raise Undecodable("the event names no agent")
    channel = channels.by_account("rcs", agent)
    if channel is None:
        return Routed([], [AccountKey("rcs", agent)], [])
    launched = payload.text(node.get("newLaunchState"))
    if phone is None and launched is not None:
        return Routed([], [], [], [f"the agent's launch state became {launched}"])
    if phone is None:
        return Routed([], [], ["the event names no phone number"])
    kind = payload.text(node.get("eventType")) or ""
    cause, repaired = cause_of(record), received.repaired(raw)
    event = RcsEvent(kind, node, raw, channel, phone, record.timestamp_ms, cause, repaired)
    try:
        return Routed(READERS.get(kind, _other)(event), [], [])
    except Uneventful as reason:
        return Routed([], [], [], [f"{kind} {reason}"])


def _message(event: RcsEvent) -> list[Fact]:
    provider_id, time = payload.text(event.node.get("messageId")), event.time()
    message_id = ids.message_id(event.channel.id, event.named("messageId"))
    headers = {"content.repaired": "true"} if event.repaired else {}
    tapped = event.node.get("suggestionResponse")
    if isinstance(tapped, dict):
        headers["postback.payload"] = payload.text(tapped.get("postbackData")) or EMPTY_PAYLOAD
    return [
        MessageReceived(
            id=message_id,
            message_id=message_id,
            provider_id=provider_id,
            participant_id=event.conversation,
            content=event.raw,
            canonical=canonical.encode(content.canonical_of(event.node)),
            headers=headers | time.headers,
            arrived_at_ms=event.received_ms,
            **event.about(),
        )
    ]


def _receipt(event: RcsEvent) -> list[Fact]:
    message_id = payload.text(event.node.get("messageId"))
    if message_id is None:
        raise Uneventful("names no message")
    state = STATES[event.kind]
    failed = state is DeliveryState.FAILED
    return [
        ReceiptReported(
            id=event.derived("receipt", message_id, event.kind),
            state=state,
            provider_ids=(message_id,),
            error=EXPIRED if failed else "",
            error_code=event.kind if failed else "",
            error_kind="expired" if failed else "provider",
            our_message_id=ids.canonical_uuid(message_id),
            **event.about(),
        )
    ]


def _typing(_event: RcsEvent) -> list[Fact]:
    raise Uneventful("is not kept")


def _other(event: RcsEvent) -> list[Fact]:
    kind = SUBSCRIPTIONS.get(event.kind, f"event.{event.kind}")
    noted = event.derived("event", kind, event.named("eventId"))
    return [EventNoted(id=noted, kind_at_source=kind, content=event.raw, **event.about())]


STATES = {
    "DELIVERED": DeliveryState.DELIVERED,
    "READ": DeliveryState.READ,
    "TTL_EXPIRATION_REVOKED": DeliveryState.FAILED,
}
SUBSCRIPTIONS = {"SUBSCRIBE": "subscription.started", "UNSUBSCRIBE": "subscription.ended"}
READERS: Mapping[str, Callable[[RcsEvent], list[Fact]]] = {
    "": _message,
    **dict.fromkeys(STATES, _receipt),
    "IS_TYPING": _typing,
}
