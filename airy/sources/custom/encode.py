"""A message of ours becomes one signed call of the source's action endpoint. Pure.

The message's id is the idempotency key of every attempt, so a source can drop repetitions.
"""

import hmac
from collections.abc import Sequence

import msgspec

from airy.errors import Refused, Undecodable
from airy.model import metadata
from airy.model.conversation import Message
from airy.model.render import timestamp
from airy.secret import Secret
from airy.sources import payload
from airy.sources.api import Call, Failed, Target
from airy.sources.custom import content

SIGNATURE = "x-airy-content-signature"
PREVIOUS_SIGNATURE = "x-airy-content-signature-previous"  # by the token that is rotated out
ATTEMPT = "x-airy-attempt"
TOKEN, PREVIOUS_TOKEN = "token", "previous_token"
CONVERSATION = "source.conversation_id"  # metadata of a conversation whose contact has another id than it


def encode(message: Message, target: Target) -> Sequence[Call] | Failed:
    owner, token = target.owner, target.credentials.get(TOKEN)
    if owner is None or token is None:
        return Failed(kind="not_found", error=f"the source {target.channel.source} was deleted")
    if owner.action_endpoint is None:
        return Failed(
            kind="invalid", error="the source has no action_endpoint: set it with sources.update, then resend"
        )
    recipient_id = target.recipient(message)
    if recipient_id is None:
        return Failed(kind="not_found", error="no recipient: the contact has not written yet and none is given")
    try:
        body = _body(message, target, recipient_id)
    except (Refused, Undecodable) as error:
        return Failed(kind="invalid", error=str(error))
    headers = {
        "content-type": Secret("application/json"),
        "idempotency-key": Secret(message.id),
        ATTEMPT: Secret(str(message.attempt + 1)),
        SIGNATURE: signature(token, body),
    }
    previous = target.credentials.get(PREVIOUS_TOKEN)
    if previous is not None:
        headers[PREVIOUS_SIGNATURE] = signature(previous, body)
    secrets = (token,) if previous is None else (token, previous)
    return [Call("POST", Secret(owner.action_endpoint), headers, body, secrets)]


def signature(token: Secret, body: bytes) -> Secret:
    """Hex of HMAC-SHA256 over the exact body, with the text of the token as key."""
    return Secret(hmac.digest(token.reveal().encode(), body, "sha256").hex())


def _body(message: Message, target: Target, recipient_id: str) -> bytes:
    """Raises `Refused`, `Undecodable`."""
    document = {
        "id": message.id,
        "source_recipient_id": recipient_id,
        "content": content.outbound(payload.value(message.content)),
        "sent_at": timestamp(message.sent_at_ms),
    }
    return msgspec.json.encode(
        {"type": "message.send", "payload": {"message": document, "conversation": _conversation(target)}}
    )


def _conversation(target: Target) -> dict[str, object] | None:
    known = target.conversation
    if known is None:
        return None
    return {
        "id": known.id,
        "channel_id": target.channel.id,
        "source_channel_id": target.channel.source_channel_id,
        "source_conversation_id": metadata.text(known.metadata, CONVERSATION) or known.participant_id,
        "created_at": timestamp(known.created_at_ms),
    }
