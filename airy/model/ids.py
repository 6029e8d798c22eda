"""Ids that are a pure function of their cause.

The formula is the original's, kept so that ids survive a migration: SHA-1 over `namespace + name` as UTF-8,
the first 16 bytes, version nibble 5, RFC variant. It is not RFC 4122's version 5: there is no namespace UUID.
"""

from hashlib import sha1
from uuid import UUID

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def derive(namespace: str, name: str = "") -> str:
    """The original's deterministic UUID, canonical lower case."""
    text = (namespace + name).encode("utf-8", "surrogatepass")
    return from_sha1(sha1(text, usedforsecurity=False).hexdigest())


def from_sha1(hexed: str) -> str:
    """The same of a hash in hexadecimal, for bytes that are hashed in parts."""
    return f"{hexed[:8]}-{hexed[8:12]}-5{hexed[13:16]}-{_VARIANT[hexed[16]]}{hexed[17:20]}-{hexed[20:32]}"


def channel_id(source: str, source_channel_id: str) -> str:
    return derive(source, source_channel_id)


def conversation_id(channel: str, source_conversation_id: str) -> str:
    """The same rule for conversations started by the contact and by the API."""
    return derive(channel, source_conversation_id)


def message_id(channel: str, provider_id: str) -> str:
    """The default rule of a source: the provider's own message id within its channel."""
    return derive(channel, provider_id)


def contact_id(conversation: str) -> str:
    """The contact a conversation has by itself."""
    return derive("", conversation)


def change_id(conversation: str, fact_id: str, nth: int) -> str:
    """The change at index `nth` of an accepted fact; independent of backend, offset and the facts before."""
    return derive(conversation, f":{fact_id}:{nth}")


def canonical_uuid(text: str) -> str | None:
    """`text` as a canonical lower-case UUID, or None if it is not one."""
    if len(text) != 36:
        return None
    try:
        return str(UUID(text))
    except ValueError:
        return None
