"""One element of a Meta webhook becomes facts: a table of what an element can hold, and a reader for each.

Ids are pure functions of what happened, never of how or how often it was delivered: a message is its `mid`, a receipt
its participant and watermark. `content` of a message is the element as Meta wrote it.
"""

import re
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw, Struct

from airy.errors import Undecodable
from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import (
    EventNoted,
    Fact,
    HandoverChanged,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageReceived,
    ReactionChanged,
    ReceiptReported,
)
from airy.sources import canonical, payload, provider_answer
from airy.sources.api import Uneventful
from airy.sources.fact_origin import FactOrigin, fact_origin
from airy.sources.meta import content
from airy.sources.meta import participant as participants
from airy.sources.provider_time import EventTime, time_ms, watermark

WINDOW_MS = 86_400_000  # how long an answer is allowed after the contact wrote
EMPTY_PAYLOAD = "__empty__"
REVISION_MAX = 1_000_000_000
INBOX_APP_ID = "263902037430900"  # of Meta's own inbox, in echoes since Graph v12

_ENVELOPE = frozenset({"sender", "recipient", "timestamp", "prior_message"})
_CODE_POINT = re.compile(r"\\u\{?([0-9a-fA-F]{1,8})\}?")


class Element(Struct, frozen=True):
    """An element and what is known around it."""

    raw: Raw
    fields: Mapping[str, object]
    channel: Channel
    account: str
    time: EventTime
    arrived_at_ms: int
    standby: bool
    cause: str
    repaired: bool

    def node(self, name: str) -> Mapping[str, object]:
        return payload.record(self.fields.get(name))

    @property
    def sender_id(self) -> str | None:
        return participants.name_of(self.node("sender"))

    @property
    def recipient_id(self) -> str | None:
        return participants.name_of(self.node("recipient"))

    def participant(self, *, echo: bool = False) -> str:
        """The end of the element that is not the account; the account itself in a message to oneself.

        Raises `Undecodable`.
        """
        ends = (self.recipient_id, self.sender_id) if echo else (self.sender_id, self.recipient_id)
        for end in (*ends, participants.name_of(self.node("optin"))):
            if end is not None and end != self.account:
                return end
        if self.node("message").get("is_self") is True:
            return self.account
        raise Undecodable("sender and recipient name no contact")

    def about(self, participant: str) -> FactOrigin:
        return fact_origin(self.channel, participant, self.time.at_ms, self.cause)

    def derived(self, kind: str, *parts: object) -> str:
        """An id for what is not a message."""
        return ids.derive(self.channel.id, f"{kind}:{payload.canonical(parts)}")


def kinds_of(element: Element) -> list[str]:
    """What the element holds, by the names of its members; one word for an element without a reader."""
    return [name for name in element.fields if name in READERS and isinstance(element.fields[name], dict)] or [
        _kind(element)
    ]


def facts_of(element: Element, kind: str) -> list[Fact]:
    """The facts of one of its kinds. Raises `Undecodable`, and `Uneventful` where it says nothing to keep."""
    node = element.fields.get(kind)
    reader = READERS.get(kind) if isinstance(node, dict) else None
    return _noted(element, kind) if reader is None else reader(element, element.node(kind))


def _kind(element: Element) -> str:
    """A word for an element of a kind that has no reader."""
    field = payload.text(element.fields.get("field"))
    if field is not None and "value" in element.fields:
        return f"changes.{field}"
    return next((name for name in element.fields if name not in _ENVELOPE), "unknown")


# --- messages


def _message(element: Element, node: Mapping[str, object]) -> list[Fact]:
    if node.get("is_deleted") is True:
        return _deleted(element, node)
    if node.get("is_echo") is True:
        return _echoed(element, node)
    headers: dict[str, str] = {}
    if (tapped := payload.text(payload.record(node.get("quick_reply")).get("payload"))) is not None:
        headers["postback.payload"] = tapped
    return [_received(element, node, headers), *_referral(element, node)]


def _postback(element: Element, node: Mapping[str, object]) -> list[Fact]:
    headers = {"postback.payload": payload.text(node.get("payload")) or EMPTY_PAYLOAD}
    if "referral" in node:
        members = payload.members(payload.members(element.raw)["postback"])
        headers["postback.referral"] = bytes(members["referral"]).decode()
    return [_received(element, node, headers), *_referral(element, node)]


def _received(element: Element, node: Mapping[str, object], headers: dict[str, str]) -> MessageReceived:
    participant = element.participant()
    provider_id = payload.identifier(node.get("mid"))
    message_id = _message_id(element, provider_id)
    if element.standby:
        headers["handover.standby"] = "true"
    if node.get("is_self") is True:
        headers["message.self"] = "true"
    return MessageReceived(
        id=message_id,
        message_id=message_id,
        provider_id=provider_id,
        participant_id=participant,
        content=element.raw,
        canonical=_canonical(element),
        headers=_marked(element, headers),
        window_until_ms=element.time.at_ms + WINDOW_MS,
        reply_to=payload.identifier(payload.record(node.get("reply_to")).get("mid")),
        standby=element.standby,
        arrived_at_ms=element.arrived_at_ms,
        **element.about(participant),
    )


def _echoed(element: Element, node: Mapping[str, object]) -> list[Fact]:
    participant = element.participant(echo=True)
    provider_id = payload.identifier(node.get("mid"))
    app_id = payload.identifier(node.get("app_id"))
    source = element.channel.source
    message_id = _message_id(element, provider_id)
    return [
        MessageEchoed(
            id=message_id,
            message_id=message_id,
            provider_id=provider_id or message_id,
            participant_id=participant,
            sender_id=f"{source}:inbox" if app_id in {None, INBOX_APP_ID} else f"{source}:app:{app_id}",
            our_message_id=ids.canonical_uuid(payload.text(node.get("metadata")) or ""),
            content=element.raw,
            canonical=_canonical(element),
            headers=_marked(element, {}),
            arrived_at_ms=element.arrived_at_ms,
            **element.about(participant),
        )
    ]


def _canonical(element: Element, **replaced: object) -> Raw:
    fields = {**element.fields, **replaced, "timestamp": element.time.at_ms}  # a time that can be
    return canonical.encode(content.canonical_of(fields))


def _message_id(element: Element, provider_id: str | None) -> str:
    return ids.message_id(element.channel.id, provider_id or payload.canonical(element.fields))


def _marked(element: Element, headers: dict[str, str]) -> dict[str, str]:
    return headers | ({"content.repaired": "true"} if element.repaired else {}) | element.time.headers


# --- what happens to messages


def _deleted(element: Element, node: Mapping[str, object]) -> list[Fact]:
    target = _target(node)
    participant = element.participant(echo=node.get("is_echo") is True)
    return [
        MessageDeleted(
            id=element.derived("deleted", target),
            provider_id=target,
            **element.about(participant),
        )
    ]


def _edited(element: Element, node: Mapping[str, object]) -> list[Fact]:
    """The content takes the shape of a message, so that the new text is where a message has its text.

    The count may be missing, or the same each time; then the time tells one edit from the next.
    """
    target = _target(node)
    count = provider_answer.number(node.get("num_edit")) or 0
    revision = count if 0 < count <= REVISION_MAX else 0
    parts = payload.members(element.raw)
    edited = {"message" if name == "message_edit" else name: part for name, part in parts.items() if name != "message"}
    return [
        MessageEdited(
            id=element.derived("edited", target, revision, element.fields.get("timestamp"), node.get("text")),
            provider_id=target,
            revision=revision,
            content=Raw(msgspec.json.encode(edited)),
            canonical=_canonical(element, message=node),
            **element.about(element.participant()),
        )
    ]


def _reaction(element: Element, node: Mapping[str, object]) -> list[Fact]:
    target = _target(node)
    actor = element.sender_id or element.participant()
    emoji = None
    if node.get("action") != "unreact":
        emoji = _emoji(payload.text(node.get("emoji"))) or payload.text(node.get("reaction"))
        if emoji is None:
            raise Undecodable("reaction has neither emoji nor name")
    return [
        ReactionChanged(
            id=element.derived("reaction", target, actor, emoji, element.fields.get("timestamp")),
            provider_id=target,
            actor=actor,
            emoji=emoji,
            **element.about(element.participant()),
        )
    ]


def _delivery(element: Element, node: Mapping[str, object]) -> list[Fact]:
    mids = node.get("mids")
    named = tuple(mid for mid in map(payload.identifier, mids) if mid) if isinstance(mids, list) else ()
    return _receipt(element, DeliveryState.DELIVERED, named, node.get("watermark"))


def _read(element: Element, node: Mapping[str, object]) -> list[Fact]:
    mid = payload.identifier(node.get("mid"))
    return _receipt(element, DeliveryState.READ, (mid,) if mid else (), node.get("watermark"))


def _receipt(element: Element, state: DeliveryState, named: tuple[str, ...], written: object) -> list[Fact]:
    """The id is of the watermark as written, as its bound depends on when the webhook arrived, and of whether it is
    bounded: the whole watermark, which a repetition can have, covers more, and makes changes of its own.
    """
    until = watermark(written, element.time, element.arrived_at_ms)
    if not named and until is None:
        raise Uneventful("names neither messages nor a watermark")
    try:
        participant = element.participant()
    except Undecodable as error:
        raise Uneventful(str(error)) from error
    bounded = ("bounded",) if until is not None and until.replaced else ()
    return [
        ReceiptReported(
            id=element.derived("receipt", state, participant, named, time_ms(written), *bounded),
            state=state,
            provider_ids=named,
            watermark_ms=until.at_ms if until else None,
            watermark_written=until.replaced if until else "",
            **element.about(participant),
        )
    ]


# --- what happens to the thread


def _handover(action: str, owner: str | None) -> Callable[[Element, Mapping[str, object]], list[Fact]]:
    def read(element: Element, node: Mapping[str, object]) -> list[Fact]:
        return [
            HandoverChanged(
                id=element.derived("handover", element.fields),
                action=action,
                content=element.raw,
                owner=payload.identifier(node.get(owner)) if owner else None,
                **_about_thread(element),
            )
        ]

    return read


def _referred(element: Element, node: Mapping[str, object]) -> list[Fact]:
    return _noted(element, "referral", referral=_reference(node))


def _opted_in(element: Element, node: Mapping[str, object]) -> list[Fact]:
    return _noted(element, "optin", referral=payload.text(node.get("ref")))


def _referral(element: Element, node: Mapping[str, object]) -> list[Fact]:
    """A referral that came inside a message or postback, for the conversation."""
    reference = _reference(payload.record(node.get("referral")))
    return _noted(element, "referral", referral=reference) if reference else []


def _reference(node: Mapping[str, object]) -> str | None:
    """What led the contact here: the word of a link, else the ad, which need not have one."""
    return payload.text(node.get("ref")) or payload.identifier(node.get("ad_id"))


def _noted(element: Element, kind: str, *, referral: str | None = None) -> list[Fact]:
    return [
        EventNoted(
            id=element.derived("event", kind, element.fields),
            kind_at_source=payload.text(kind) or "unknown",
            content=element.raw,
            referral=referral,
            **_about_thread(element),
        )
    ]


# --- shared


def _about_thread(element: Element) -> FactOrigin:
    """What names no participant is kept under the account itself."""
    try:
        return element.about(element.participant())
    except Undecodable:
        return element.about(element.account)


def _target(node: Mapping[str, object]) -> str:
    mid = payload.identifier(node.get("mid"))
    if mid is None:
        raise Undecodable("names no message in mid")
    return mid


def _emoji(written: str | None) -> str | None:
    r"""Meta writes an emoji as itself or as the letters `\u{1F600}`."""
    if written is None:
        return None
    units = _CODE_POINT.sub(lambda match: chr(min(int(match[1], 16), 0x10FFFF)), written)
    return payload.text(units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))


READERS: Mapping[str, Callable[[Element, Mapping[str, object]], list[Fact]]] = {
    "message": _message,
    "postback": _postback,
    "message_edit": _edited,
    "reaction": _reaction,
    "delivery": _delivery,
    "read": _read,
    "referral": _referred,
    "optin": _opted_in,
    "pass_thread_control": _handover("pass", "new_owner_app_id"),
    "take_thread_control": _handover("take", "new_owner_app_id"),
    "request_thread_control": _handover("request", None),
    "app_roles": _handover("roles", None),
}
