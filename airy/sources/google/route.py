"""An event of Business Messages becomes facts. Pure: a table of what an event can hold, and a reader for each.

A message has an id of Google's; what has none is known by what it says without `requestId` and `sendTime`, which
change when an event comes again. `content` is the whole event as Google wrote it.
"""

from collections.abc import Callable, Mapping

from msgspec import Raw, Struct

from airy.bus.record import Record
from airy.errors import Undecodable
from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import EventNoted, Fact, MessageReceived, ProfileResolved, ReceiptReported, StateChanged
from airy.sources import canonical, payload
from airy.sources.api import AccountKey, Channels, Routed, Uneventful
from airy.sources.fact_origin import FactOrigin, cause_of, fact_origin
from airy.sources.google import content
from airy.sources.google_api import names
from airy.sources.provider_time import EventTime, event_time

EVENT_LEVEL = 1
ARCHIVED_MAX_MS = 20 * 366 * 86_400_000  # the service has ended: what arrives is of an archive
EMPTY_PAYLOAD = "__empty__"
COMMON = frozenset({"agent", "conversationId", "customAgentId", "requestId", "context", "sendTime"})
OPEN = "OPEN"  # a person has to answer
RECEIPTS = {"DELIVERED": DeliveryState.DELIVERED, "READ": DeliveryState.READ}


class EventPart(Struct, frozen=True):
    """The one thing an event is about."""

    name: str
    node: object
    event: Mapping[str, object]
    raw: Raw
    channel: Channel
    conversation: str
    received_ms: int
    cause: str
    repaired: bool

    @property
    def fields(self) -> Mapping[str, object]:
        return payload.record(self.node)

    def time(self) -> EventTime:
        written = self.event.get("sendTime"), self.fields.get("createTime")
        return event_time(self.received_ms, *written, before_max_ms=ARCHIVED_MAX_MS)

    def about(self) -> FactOrigin:
        return fact_origin(self.channel, self.conversation, self.time().at_ms, self.cause)

    def said(self) -> str:
        return payload.canonical([self.conversation, self.name, self.node])

    def derived(self, kind: str, *parts: object) -> str:
        return ids.derive(self.channel.id, f"{kind}:{payload.canonical(parts)}")


def route(record: Record, channels: Channels) -> Routed:
    """Raises `Undecodable`."""
    received = payload.read(record.value or b"", element_level=EVENT_LEVEL)
    members = payload.members(received.body)
    raw = Raw(received.body)
    event = payload.record(payload.value(raw))
    agent = names.agent(event) or payload.text(record.key.decode("utf-8", "replace"))
    held = [name for name in members if name not in COMMON]
    if not held:
        return Routed([], [], [], ["the event says nothing"])
    if agent is None:
        raise Undecodable("the event names no agent")
    channel = channels.by_account("google", agent)
    if channel is None:
        return Routed([], [AccountKey("google", agent)], [])
    conversation = payload.text(event.get("conversationId"))
    if conversation is None:
        return Routed([], [], ["the event names no conversation"])
    facts: list[Fact] = []
    noted: list[str] = []
    unreadable: list[str] = []
    for name in held:
        part = EventPart(
            name,
            event[name],
            event,
            raw,
            channel,
            conversation,
            record.timestamp_ms,
            cause_of(record),
            received.repaired(raw),
        )
        try:
            if name in READERS and not isinstance(part.node, dict):
                payload.members(members[name])  # raises, saying what it is instead
            facts += READERS.get(name, _other)(part)
        except Uneventful as reason:
            noted.append(f"{name} {reason}")
        except Undecodable as error:
            unreadable.append(f"{name}: {error}")
    return Routed(facts, [], unreadable, noted)


# --- messages


def _message(part: EventPart) -> list[Fact]:
    provider_id = payload.text(part.fields.get("messageId")) or names.last(part.fields.get("name"))
    return _received(part, provider_id or part.said(), provider_id=provider_id)


def _tapped(part: EventPart) -> list[Fact]:
    told = payload.text(part.fields.get("postbackData")) or EMPTY_PAYLOAD
    reply_to = names.last(part.fields.get("message"))
    return _received(part, part.said(), headers={"postback.payload": told}, reply_to=reply_to)


def _surveyed(part: EventPart) -> list[Fact]:
    told = payload.text(part.fields.get("questionResponsePostbackData"))
    return _received(part, part.said(), headers={"postback.payload": told} if told else {})


def _signed_in(part: EventPart) -> list[Fact]:
    return _received(part, part.said())


def _status(part: EventPart) -> list[Fact]:
    if part.fields.get("requestedLiveAgent") is not True:
        raise Uneventful("is about typing")
    opened = StateChanged(id=part.derived("state", part.said()), state=OPEN, **part.about())
    return [*_received(part, part.said()), opened]


def _received(
    part: EventPart,
    named: str,
    *,
    provider_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    reply_to: str | None = None,
) -> list[Fact]:
    message_id = ids.message_id(part.channel.id, named)
    repaired = {"content.repaired": "true"} if part.repaired else {}
    message = MessageReceived(
        id=message_id,
        message_id=message_id,
        provider_id=provider_id,
        participant_id=part.conversation,
        content=part.raw,
        canonical=canonical.encode(content.canonical_of(part.event)),
        headers={**(headers or {}), **repaired, **part.time().headers},
        reply_to=reply_to,
        arrived_at_ms=part.received_ms,
        **part.about(),
    )
    return [message, *_profile(part, message_id)]


def _profile(part: EventPart, message_id: str) -> list[Fact]:
    person = payload.record(payload.record(part.event.get("context")).get("userInfo"))
    name = (payload.text(person.get("displayName")) or "").strip()
    if not name:
        return []
    return [ProfileResolved(id=ids.derive(message_id, ":profile"), found=True, display_name=name, **part.about())]


# --- everything else


def _receipts(part: EventPart) -> list[Fact]:
    """The id of a message of ours at Google is our own."""
    given = part.fields.get("receipts")
    listed = [payload.record(each) for each in given] if isinstance(given, list) else []
    facts: list[Fact] = []
    for each in listed:
        provider_id, state = names.last(each.get("message")), RECEIPTS.get(str(each.get("receiptType")))
        if provider_id is not None and state is not None:
            facts.append(
                ReceiptReported(
                    id=part.derived("receipt", provider_id, state),
                    state=state,
                    provider_ids=(provider_id,),
                    our_message_id=ids.canonical_uuid(provider_id),
                    **part.about(),
                )
            )
    if not facts:
        raise Uneventful("names no message that was delivered or read")
    return facts


def _other(part: EventPart) -> list[Fact]:
    kind = f"event.{payload.text(part.name) or 'unknown'}"
    return [EventNoted(id=part.derived(kind, part.said()), kind_at_source=kind, content=part.raw, **part.about())]


READERS: Mapping[str, Callable[[EventPart], list[Fact]]] = {
    "message": _message,
    "suggestionResponse": _tapped,
    "surveyResponse": _surveyed,
    "authenticationResponse": _signed_in,
    "userStatus": _status,
    "receipts": _receipts,
}
