"""A message of ours becomes one call of Twilio's Messages resource. Pure.

The status callback's address carries our message id, which settles a call whose answer was lost.
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
from airy.sources.twilio.spec import TwilioSection
from airy.sources.twilio.verify import ATTEMPT_PARAMETER, MESSAGE_PARAMETER

BODY_CHARACTERS_MAX = 1_600
FORM = Secret("application/x-www-form-urlencoded")
FIELDS = frozenset(  # of the Messages resource that a caller may give
    {
        "Body",
        "MediaUrl",
        "ContentSid",
        "ContentVariables",
        "PersistentAction",
        "FallbackFrom",
        "ValidityPeriod",
        "MessagingServiceSid",
    }
)


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
        query = urlencode({MESSAGE_PARAMETER: message.id, ATTEMPT_PARAMETER: message.attempt})
        sender["StatusCallback"] = f"{public_url}/twilio/status?{query}"
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
    wanted = canonical.outbound(given)
    fields = content.fields_of(wanted, kind) if wanted is not None else payload.record(given)
    unknown = sorted(fields.keys() - FIELDS)
    if unknown:
        raise Refused(f"{unknown[0]} is not a field Twilio takes here", field=unknown[0])
    _check(fields)
    return dict(fields)


def _check(fields: Mapping[str, object]) -> None:
    body, media = fields.get("Body"), fields.get("MediaUrl")
    if "ContentSid" not in fields and not body and not media:
        raise Refused("a message has Body, MediaUrl or ContentSid", field="Body")
    for name, text in fields.items():
        if name not in {"MediaUrl", "PersistentAction", "ValidityPeriod"} and not isinstance(text, str):
            raise Refused(f"{name} is not text", field=name)
    if isinstance(body, str) and len(body) > BODY_CHARACTERS_MAX:
        raise Refused(f"Body has {len(body)} characters and Twilio takes {BODY_CHARACTERS_MAX}: split it", field="Body")
    urls = media if isinstance(media, list) else [] if media is None else [media]
    if len(urls) > content.MEDIA_MAX:
        raise Refused(f"MediaUrl has {len(urls)} entries and Twilio takes {content.MEDIA_MAX}", field="MediaUrl")
    for url in urls:
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise Refused("MediaUrl is not a web address Twilio can fetch", field="MediaUrl")
