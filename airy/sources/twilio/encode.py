"""A message of ours becomes one call of Twilio's Messages resource. Pure.

The status callback's address carries our message, its attempt and its conversation, which settles a call whose answer
was lost and names the conversation whatever the contact is called by then.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import msgspec

from airy.errors import Refused, Undecodable
from airy.model.conversation import Message
from airy.secret import Secret
from airy.sources import canonical, payload
from airy.sources.api import Call, Failed, Target
from airy.sources.twilio import account, content
from airy.sources.twilio.spec import RETRIES, TwilioSection
from airy.sources.twilio.verify import ATTEMPT_PARAMETER, CONVERSATION_PARAMETER, MESSAGE_PARAMETER

BODY_CHARACTERS_MAX = 1_600
FORM = Secret("application/x-www-form-urlencoded")
RESERVED = frozenset({"From", "To", "StatusCallback", "ApplicationSid"})  # they say where a message and its status go
LISTS = frozenset({"MediaUrl", "PersistentAction", "Tags"})


def encode(section: TwilioSection, public_url: str, message: Message, target: Target) -> Sequence[Call] | Failed:
    recipient_id = target.recipient(message)
    if recipient_id is None:
        return Failed(kind="not_found", error="no recipient: the contact has not written yet and none is given")
    owner = account.of(section, target)
    if owner is None:
        return Failed(kind="auth", error="the channel has no Twilio account: connect it again", stop_lane=True)
    try:
        fields = _fields(message, target.channel.source)
    except Refused as error:
        return Failed(kind="invalid", error=str(error))
    service = payload.text(fields.pop("MessagingServiceSid", None)) or account.messaging_service(target)
    sender = {"MessagingServiceSid": service} if service else {}
    if public_url:
        named = {MESSAGE_PARAMETER: message.id, ATTEMPT_PARAMETER: message.attempt}
        query = urlencode(named | {CONVERSATION_PARAMETER: message.conversation_id})
        sender["StatusCallback"] = f"{public_url}/twilio/status?{query}{RETRIES}"
    body = {"From": target.channel.source_channel_id, "To": recipient_id, **sender, **fields}
    return [owner.call("POST", account.messages_url(section, owner), urlencode(body, doseq=True).encode(), FORM)]


def typing(section: TwilioSection, target: Target, provider_id: str | None) -> Sequence[Call]:
    """WhatsApp's typing indicator, which also marks the message read; nothing for SMS."""
    owner = account.of(section, target)
    if owner is None or provider_id is None or target.channel.source != "twilio.whatsapp":
        return []
    body = msgspec.json.encode({"channel": "WHATSAPP", "messageId": provider_id})
    url = f"{section.messaging_url.rstrip('/')}/v3/Indicators/Typing.json"
    return [owner.call("POST", url, body, Secret("application/json"))]


def _fields(message: Message, kind: str) -> dict[str, object]:
    """Raises `Refused`."""
    try:
        given = payload.value(message.content)
    except Undecodable as error:
        raise Refused(f"the message {error}; send an object with Body or MediaUrl") from error
    fields = canonical.fields_to_send(given, lambda wanted: content.fields_of(wanted, kind))
    if reserved := sorted(RESERVED & fields.keys()):
        raise Refused(f"{reserved[0]} is not a field Twilio takes here", field=reserved[0])
    written = {name: _written(part, name) for name, part in fields.items()}
    _check(written)
    return written


def _written(part: object, name: str) -> object:
    """A value as a form has it: an object is JSON text there."""
    if name == "Body":
        return part
    if isinstance(part, bool):
        return "true" if part else "false"
    if isinstance(part, dict) or (isinstance(part, list) and name not in LISTS):
        return msgspec.json.encode(part).decode()
    return part


def _check(fields: Mapping[str, object]) -> None:
    body, media = fields.get("Body"), fields.get("MediaUrl")
    if body is not None and not isinstance(body, str):
        raise Refused("Body is not text", field="Body")
    if not body and not media and not fields.get("ContentSid"):
        raise Refused("a message has Body, MediaUrl or ContentSid", field="Body")
    if body is not None and len(body) > BODY_CHARACTERS_MAX:
        raise Refused(f"Body has {len(body)} characters and Twilio takes {BODY_CHARACTERS_MAX}: split it", field="Body")
    urls = media if isinstance(media, list) else [media] if media else []
    if len(urls) > content.MEDIA_MAX:
        raise Refused(f"MediaUrl has {len(urls)} entries and Twilio takes {content.MEDIA_MAX}", field="MediaUrl")
    for url in urls:
        if not isinstance(url, str) or not url.strip().lower().startswith(("https://", "http://")):
            raise Refused("MediaUrl is not a web address Twilio can fetch", field="MediaUrl")
