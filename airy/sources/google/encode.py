"""A message of ours becomes one call that creates a message in a conversation. Pure.

Google takes our message id as its own and refuses a second message with it, and receipts name it, so a call whose
answer was lost is settled by its receipts.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

import msgspec

from airy.errors import Refused, Undecodable
from airy.model import ids
from airy.model.conversation import Message
from airy.secret import Secret
from airy.sources import canonical, payload
from airy.sources.api import Call, Failed, Target
from airy.sources.google import content
from airy.sources.google.spec import GoogleSection

JSON = Secret("application/json")
HUMAN = {"representativeType": "HUMAN"}
BODIES = ("text", "image", "richCard")
RESERVED = frozenset({"messageId", "name"})  # they say which message it is


def encode(section: GoogleSection, message: Message, target: Target) -> Sequence[Call] | Failed:
    recipient_id = target.recipient(message)
    if recipient_id is None:
        return Failed(kind="not_found", error="no recipient: a business cannot write before the contact does")
    token = target.credentials.get("access_token")
    if token is None:
        error = "no service account: connect the channel with one, or configure saFile"
        return Failed(kind="auth", error=error, stop_lane=True)
    try:
        fields = _fields(message)
        _check(fields)
    except Refused as error:
        return Failed(kind="invalid", error=str(error))
    body = {"representative": HUMAN, **fields, "messageId": message.id}
    return [_call(section, token, recipient_id, "POST", "messages", body)]


def read(section: GoogleSection, target: Target, provider_id: str) -> Sequence[Call]:
    """Shows the contact that a message was read."""
    path = f"messages/{quote(provider_id, safe='')}/receipt"
    return _signal(section, target, "PATCH", path, {"receiptType": "READ"})


def typing(section: GoogleSection, target: Target, provider_id: str | None) -> Sequence[Call]:
    """Once for each message of the contact, as an event has an id."""
    event_id = ids.derive(target.channel.id, f"typing:{provider_id}")
    event = {"eventType": "TYPING_STARTED", "representative": HUMAN}
    return _signal(section, target, "POST", f"events?{urlencode({'eventId': event_id})}", event)


def _signal(
    section: GoogleSection, target: Target, method: str, path: str, body: Mapping[str, object]
) -> Sequence[Call]:
    token = target.credentials.get("access_token")
    conversation = target.conversation.participant_id if target.conversation else None
    if token is None or conversation is None:
        return []
    return [_call(section, token, conversation, method, path, body)]


def _call(
    section: GoogleSection, token: Secret, conversation: str, method: str, path: str, body: Mapping[str, object]
) -> Call:
    url = f"{section.api_url.rstrip('/')}/v1/conversations/{quote(conversation, safe='')}/{path}"
    headers = {"content-type": JSON, "authorization": Secret(f"Bearer {token.reveal()}")}
    return Call(method, Secret(url), headers, msgspec.json.encode(body), (token,))


def _fields(message: Message) -> dict[str, object]:
    """Raises `Refused`."""
    try:
        given = payload.value(message.content)
    except Undecodable as error:
        raise Refused(f"the message {error}; send an object with text, image or richCard") from error
    fields = canonical.fields_to_send(given, content.fields_of)
    return {name: part for name, part in fields.items() if name not in RESERVED}


def _check(fields: Mapping[str, object]) -> None:
    """Raises `Refused`, naming the field."""
    given = [name for name in BODIES if name in fields]
    if not given:
        raise Refused(f"a message has one of {', '.join(BODIES)}", field="text")
    text = fields.get("text")
    if "text" in fields and (not isinstance(text, str) or (not text.strip() and len(given) == 1)):
        raise Refused("text is missing or empty", field="text")
    for name in ("image", "richCard"):
        if name in fields and not payload.record(fields[name]):
            raise Refused(f"{name} is no object", field=name)
    suggestions = fields.get("suggestions")
    if isinstance(suggestions, list) and len(suggestions) > content.SUGGESTIONS_MAX:
        message = f"suggestions has {len(suggestions)} entries and google takes {content.SUGGESTIONS_MAX}"
        raise Refused(message, field="suggestions")
