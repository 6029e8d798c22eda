"""What wraps an event: a message whose `data` is the event's bytes in base64. Pure."""

import binascii
from base64 import b64decode
from collections.abc import Mapping

from airy.errors import Undecodable
from airy.sources import payload

DOMAIN = "@rbm.goog"  # Google names an agent with it in some places


def agent(event: Mapping[str, object]) -> str | None:
    """The id of the agent an event is for."""
    return payload.text((payload.text(event.get("agentId")) or "").removesuffix(DOMAIN))


def event_bytes(body: bytes) -> bytes:
    """Raises `Undecodable`."""
    document = payload.object_of(body)
    if document is None:
        raise Undecodable("the body is not JSON, or no object")
    data = payload.record(document.get("message")).get("data")
    if not isinstance(data, str):
        raise Undecodable("the body has no message.data")
    try:
        return b64decode(data.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Undecodable("message.data is not base64") from error
