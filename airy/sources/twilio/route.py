"""A form of Twilio becomes facts: a contact's message, or the status of one of ours. Pure.

Ids hang on the message SID, so a form that comes again with other fields or in another order is the same fact. Content
is the form as text, as it was posted. Twilio's forms carry no time: `at_ms` is when the form arrived.
"""

from collections.abc import Collection, Mapping

import msgspec
from msgspec import Raw

from airy.bus.record import Record
from airy.errors import Undecodable
from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import EventNoted, Fact, MessageReceived, ProfileResolved, ReceiptReported
from airy.model.identity import IdentityKey
from airy.sources import canonical, payload, provider_answer
from airy.sources.api import AccountKey, Channels, Routed, Uneventful
from airy.sources.fact_origin import FactOrigin, cause_of
from airy.sources.identity import ResolvedIdentity, resolve
from airy.sources.twilio import content as contents
from airy.sources.twilio import error_codes, form

CONTENT_FIELDS = frozenset({"Body", "MediaUrl0", "MessageSid", "SmsMessageSid", "SmsSid"})
WINDOW_MS = 86_400_000  # of WhatsApp, after the contact wrote
STATES = {
    "accepted": DeliveryState.SENT,
    "scheduled": DeliveryState.SENT,
    "queued": DeliveryState.SENT,
    "sending": DeliveryState.SENT,
    "sent": DeliveryState.SENT,
    "delivered": DeliveryState.DELIVERED,
    "partially_delivered": DeliveryState.DELIVERED,
    "read": DeliveryState.READ,
    "undelivered": DeliveryState.FAILED,
    "failed": DeliveryState.FAILED,
    "canceled": DeliveryState.FAILED,
}


def identities(record: Record, channels: Channels) -> Collection[IdentityKey]:
    """Of WhatsApp alone: the name of a number never changes."""
    try:
        fields = dict(form.pairs(record.value or b""))
    except Undecodable:
        return ()
    channel = channels.by_account("twilio.whatsapp", form.own_address(fields))
    return () if channel is None else [IdentityKey(channel.id, name) for name in form.contact_names(fields)]


def route(record: Record, channels: Channels) -> Routed:
    """Raises `Undecodable`."""
    body = record.value or b""
    fields = dict(form.pairs(body))
    address = payload.text(form.own_address(fields))
    if address is None:
        if not CONTENT_FIELDS & fields.keys():
            return Routed([], [], [], ["the form names neither a number of ours nor a message"])
        raise Undecodable("the form names no number of ours in To or From")
    key = AccountKey(form.kind_of(address), address)
    channel = channels.by_account(*key)
    if channel is None:
        return Routed([], [key], [])
    content = Raw(msgspec.json.encode(body.decode("ascii")))
    try:
        facts = _inbound if form.is_inbound(fields) else _status
        return Routed(facts(record, channel, channels, fields, content), [], [])
    except Uneventful as reason:
        return Routed([], [], [], [str(reason)])
    except Undecodable as error:
        return Routed([], [], [str(error)])


def _inbound(
    record: Record, channel: Channel, channels: Channels, fields: Mapping[str, str], content: Raw
) -> list[Fact]:
    sid = payload.text(fields.get("MessageSid") or fields.get("SmsMessageSid"))
    identity = _contact(channel, channels, fields)
    if sid is None or identity is None:
        raise Undecodable("the form names no MessageSid or no From")
    participant, about = identity.names[0], _about(record, identity)
    message_id = ids.message_id(channel.id, sid)
    tapped = payload.text(fields.get("ButtonPayload"))
    headers = {"postback.payload": tapped} if tapped else {}
    facts: list[Fact] = [
        MessageReceived(
            id=message_id,
            message_id=message_id,
            provider_id=sid,
            participant_id=participant,
            content=content,
            canonical=canonical.encode(contents.contents_of(fields)),
            headers=headers,
            window_until_ms=about["at_ms"] + WINDOW_MS if channel.source == "twilio.whatsapp" else None,
            reply_to=payload.text(fields.get("OriginalRepliedMessageSid")),
            **about,
        ),
        *identity.facts(about["at_ms"], about["cause"]),
    ]
    if name := (payload.text(fields.get("ProfileName")) or "").strip():
        facts.append(
            ProfileResolved(
                id=ids.derive(channel.id, f"profile:{participant}:{sid}"), found=True, display_name=name, **about
            )
        )
    if opted := payload.text(fields.get("OptOutType")):
        facts.append(_noted(channel, sid, f"subscription.{opted.lower()}", content, about))
    if referral := payload.text(fields.get("ReferralSourceId") or fields.get("ReferralSourceUrl")):
        facts.append(_noted(channel, sid, "referral", content, about, referral))
    return facts


def _status(
    record: Record, channel: Channel, channels: Channels, fields: Mapping[str, str], content: Raw
) -> list[Fact]:
    sid = payload.text(fields.get("MessageSid") or fields.get("SmsSid"))
    ours = ids.canonical_uuid(record.header("message-conversation") or "")
    identity = _contact(channel, channels, fields, ours)
    status = (fields.get("MessageStatus") or fields.get("SmsStatus") or "").lower()
    if sid is None or identity is None:
        raise Uneventful("the status names no MessageSid or no To")
    about = _about(record, identity)
    state = STATES.get(status)
    if state is None:
        return [_noted(channel, sid, f"status.{status or 'unknown'}", content, about)]
    failed = state is DeliveryState.FAILED
    code = payload.text(fields.get("ErrorCode")) or ""
    return [
        ReceiptReported(
            id=ids.derive(channel.id, f"receipt:{sid}:{state}"),
            state=state,
            provider_ids=(sid,),
            error=_reason(fields, status, code) if failed else "",
            error_code=code if failed else "",
            error_kind=error_codes.reported_kind(provider_answer.number(code)) if failed else "provider",
            our_message_id=ids.canonical_uuid(record.header("message-id") or ""),
            our_attempt=_attempt(record.header("message-attempt") or ""),
            **about,
        ),
        *identity.facts(about["at_ms"], about["cause"]),
    ]


def _attempt(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _reason(fields: Mapping[str, str], status: str, code: str) -> str:
    said = payload.text(fields.get("ChannelStatusMessage")) or payload.text(fields.get("ErrorMessage"))
    return said or f"Twilio reports the message as {status}" + (f", error {code}" if code else "")


def _noted(
    channel: Channel, sid: str, kind: str, content: Raw, about: FactOrigin, referral: str | None = None
) -> EventNoted:
    return EventNoted(
        id=ids.derive(channel.id, f"event:{kind}:{sid}"),
        kind_at_source=kind,
        content=content,
        referral=referral,
        **about,
    )


def _contact(
    channel: Channel, channels: Channels, fields: Mapping[str, str], conversation_id: str | None = None
) -> ResolvedIdentity | None:
    """None: the form names no contact. `conversation_id`: if the form says it."""
    names = form.contact_names(fields)
    return resolve(channel, names, channels, conversation_id=conversation_id) if names else None


def _about(record: Record, identity: ResolvedIdentity) -> FactOrigin:
    return identity.about(record.timestamp_ms, cause_of(record))
