"""A message of ours becomes one call that creates an agent message for a phone number. Pure.

The message id is ours, so the receipts of a call whose answer was lost settle it.
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
from airy.sources.rcs import content
from airy.sources.rcs.spec import RcsSection

JSON = Secret("application/json")
TEXT_CHARACTERS_MAX = 3_072
BODY_BYTES_MAX = 250 * 1_024
CONTENTS = ("text", "contentInfo", "uploadedRbmFile", "richCard")
OPTIONS = ("messageTrafficType", "ttl", "expireTime")  # beside `contentMessage`


def encode(section: RcsSection, message: Message, target: Target) -> Sequence[Call] | Failed:
    recipient_id = target.recipient(message)
    if recipient_id is None:
        return Failed(kind="not_found", error="no recipient: the contact has not written yet and none is given")
    token = target.credentials.get("access_token")
    if token is None:
        error = "no service account: connect the channel with one, or configure serviceAccount"
        return Failed(kind="auth", error=error, stop_lane=True)
    try:
        body = _body(message)
    except Refused as error:
        return Failed(kind="invalid", error=str(error))
    encoded = msgspec.json.encode(body)
    if len(encoded) > BODY_BYTES_MAX:
        too_large = f"the message has {len(encoded)} bytes and google takes {BODY_BYTES_MAX}"
        return Failed(kind="invalid", error=too_large)
    return [_call(section, token, target, recipient_id, "agentMessages", {"messageId": message.id}, encoded)]


def read(section: RcsSection, target: Target, provider_id: str) -> Sequence[Call]:
    """Shows the contact that a message was read."""
    return _signal(section, target, f"read:{provider_id}", {"eventType": "READ", "messageId": provider_id})


def typing(section: RcsSection, target: Target, provider_id: str | None) -> Sequence[Call]:
    """Once for each message of the contact, as an event has an id."""
    return _signal(section, target, f"typing:{provider_id}", {"eventType": "IS_TYPING"})


def _signal(section: RcsSection, target: Target, name: str, event: Mapping[str, object]) -> Sequence[Call]:
    token = target.credentials.get("access_token")
    recipient_id = target.conversation.participant_id if target.conversation else None
    if token is None or recipient_id is None:
        return []
    query = {"eventId": ids.derive(target.channel.id, f"{recipient_id}:{name}")}
    return [_call(section, token, target, recipient_id, "agentEvents", query, msgspec.json.encode(event))]


def _call(
    section: RcsSection,
    token: Secret,
    target: Target,
    recipient: str,
    collection: str,
    query: Mapping[str, str],
    body: bytes,
) -> Call:
    named = urlencode({**query, "agentId": target.channel.source_channel_id})
    url = f"{section.api_url.rstrip('/')}/v1/phones/{quote(recipient, safe='+')}/{collection}?{named}"
    headers = {"content-type": JSON, "authorization": Secret(f"Bearer {token.reveal()}")}
    return Call("POST", Secret(url), headers, body, (token,))


def _body(message: Message) -> dict[str, object]:
    """Raises `Refused`."""
    try:
        given = payload.value(message.content)
    except Undecodable as error:
        raise Refused(f"the message {error}; send an object with text, contentInfo or richCard") from error
    fields = canonical.fields_to_send(given, content.fields_of)
    options = {name: fields.pop(name) for name in OPTIONS if name in fields}
    if "contentMessage" in fields:
        if canonical.outbound(given) is not None:
            raise Refused("contentMessage is given beside canonical: a message has one of them", field="contentMessage")
        fields = payload.record(fields["contentMessage"])
    _check(fields)
    return {"contentMessage": fields, **options}


def _check(fields: Mapping[str, object]) -> None:
    """Raises `Refused`, naming the field."""
    given = [name for name in CONTENTS if name in fields]
    if len(given) != 1:
        raise Refused(f"a message has one of {', '.join(CONTENTS)}", field="text")
    text = fields.get("text", "x")
    if not isinstance(text, str) or not text.strip():
        raise Refused("text is missing or empty", field="text")
    if len(text) > TEXT_CHARACTERS_MAX:
        message = f"text has {len(text)} characters and google takes {TEXT_CHARACTERS_MAX}: split it"
        raise Refused(message, field="text")
    if given != ["text"] and not payload.record(fields[given[0]]):
        raise Refused(f"{given[0]} is no object", field=given[0])
    suggestions = fields.get("suggestions")
    if isinstance(suggestions, list) and len(suggestions) > content.SUGGESTIONS_MAX:
        message = f"suggestions has {len(suggestions)} entries and google takes {content.SUGGESTIONS_MAX}"
        raise Refused(message, field="suggestions")
