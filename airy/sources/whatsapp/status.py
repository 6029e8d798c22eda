"""One status of a message of ours becomes a receipt. Pure.

A message that was sent from here carries its own id, attempt and conversation in `biz_opaque_callback_data`, which the
status repeats: so a call whose answer was lost is settled, and the conversation is known whatever the contact is called
by now. `read` implies delivery, and the first play of a voice message is reading.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Raw

from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.fact import Fact, ReceiptReported
from airy.model.raw import NULL
from airy.sources import payload, provider_answer
from airy.sources.api import Uneventful
from airy.sources.provider_time import event_time
from airy.sources.whatsapp import error_codes, participant
from airy.sources.whatsapp.element import ChangeContext, Fields

STATES = {
    "sent": DeliveryState.SENT,
    "delivered": DeliveryState.DELIVERED,
    "read": DeliveryState.READ,
    "played": DeliveryState.READ,
    "failed": DeliveryState.FAILED,
}
SEPARATOR = "/"
ATTEMPT_DIGITS_MAX = 9
PRICING = ("billable", "pricing_model", "type", "category")
PRICING_CHARS_MAX = 64


class Correlation(NamedTuple):
    """What a message of ours says about itself."""

    message_id: str | None = None
    attempt: int = 0
    conversation_id: str | None = None


def correlation_text(message_id: str, attempt: int, conversation_id: str) -> str:
    """At most 512 characters, says WhatsApp."""
    return SEPARATOR.join((message_id, str(attempt), conversation_id))


def correlation(written: object) -> Correlation:
    """Empty for a text that another program wrote."""
    parts = (payload.text(written) or "").split(SEPARATOR)
    message_id, digits, conversation_id = parts if len(parts) == 3 else (parts[0], "", "")
    if ids.canonical_uuid(message_id) is None:
        return Correlation()
    known = digits.isascii() and digits.isdigit() and len(digits) <= ATTEMPT_DIGITS_MAX
    attempt = int(digits) if known else 0
    return Correlation(ids.canonical_uuid(message_id), attempt, ids.canonical_uuid(conversation_id))


def facts_of(context: ChangeContext, raw: Raw, status: Fields) -> list[Fact]:
    """Raises `Uneventful` where it is about no message."""
    provider_id = payload.identifier(status.get("id"))
    word = (payload.text(status.get("status")) or "unknown").lower()
    ours = correlation(status.get("biz_opaque_callback_data"))
    names = participant.names(status.get("recipient_id"), status.get("recipient_user_id"))
    if provider_id is None or not (names or ours.conversation_id):
        raise Uneventful("a status names no message or no recipient")
    at_ms = event_time(context.arrived_at_ms, status.get("timestamp")).at_ms
    in_group = status.get("recipient_type") == "group"
    # without a name the conversation is known by what the message carried
    identity = context.resolved(names or (context.channel.source_channel_id,), conversation_id=ours.conversation_id)
    about = identity.about(at_ms, context.cause)
    state = STATES.get(word)
    if state is None:
        return [context.noted(f"status.{word}", raw, about)]
    reader = payload.identifier(status.get("recipient_participant_id")) if in_group else None
    error = _error(status) if state is DeliveryState.FAILED else Reported()
    receipt = ReceiptReported(
        id=context.derived("receipt", provider_id, word, *([reader] if reader else [])),
        state=state,
        provider_ids=(provider_id,),
        error=error.text,
        error_code=error.code,
        error_kind=error_codes.reported_kind(error.code) if state is DeliveryState.FAILED else "provider",
        our_message_id=ours.message_id,
        our_attempt=ours.attempt,
        pricing=_pricing(status.get("pricing")),
        **about,
    )
    facts: list[Fact] = [receipt]
    if error.code == error_codes.MARKETING_STOPPED:
        facts.append(context.noted("subscription.marketing_messages.stop", raw, about, provider_id))
    if names and not in_group:
        facts += identity.facts(at_ms, context.cause)
    return facts


def _pricing(given: object) -> Raw:
    """The fields that Meta documents."""
    if not isinstance(given, dict):
        return NULL
    known = {name: given[name] for name in PRICING if _is_short(given.get(name))}
    return Raw(msgspec.json.encode(known)) if known else NULL


def _is_short(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and len(value) <= PRICING_CHARS_MAX)


class Reported(NamedTuple):
    """The first error of a status or of a value."""

    code: str = ""
    text: str = ""


def _error(status: Fields) -> Reported:
    given = status.get("errors")
    errors = [payload.record(each) for each in given] if isinstance(given, list) else []
    return reported(errors[0]) if errors else Reported(text="WhatsApp reports the message as failed")


def reported(error: Mapping[str, object]) -> Reported:
    code = provider_answer.number(error.get("code"))
    details = payload.text(payload.record(error.get("error_data")).get("details"))
    title = payload.text(error.get("message")) or payload.text(error.get("title"))
    told: Sequence[str] = [part for part in dict.fromkeys((title, details)) if part]
    name = "" if code is None else str(code)
    return Reported(name, ": ".join(told) or f"WhatsApp reports error {name or 'without a code'}")
