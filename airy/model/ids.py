"""Ids that are a pure function of their cause.

The formula is the original's, kept so that ids survive a migration: SHA-1 over `namespace + name` as UTF-8, the first
16 bytes, version nibble 5, RFC variant. It is not RFC 4122's version 5: there is no namespace UUID.
"""

from hashlib import sha1
from uuid import UUID


def derive(namespace: str, name: str = "") -> str:
    """The original's deterministic UUID, canonical lower case."""
    digest = bytearray(sha1((namespace + name).encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    hexed = digest.hex()
    return f"{hexed[:8]}-{hexed[8:12]}-{hexed[12:16]}-{hexed[16:20]}-{hexed[20:]}"


def channel_id(source: str, source_channel_id: str) -> str:
    return derive(source, source_channel_id)


def conversation_id(channel: str, source_conversation_id: str) -> str:
    """One rule for conversations the contact starts and those the API starts."""
    return derive(channel, source_conversation_id)


def message_id(channel: str, provider_id: str) -> str:
    """The default rule of a source: the provider's own message id within its channel."""
    return derive(channel, provider_id)


def change_id(conversation: str, sequence: int, nth: int) -> str:
    """The `nth` change caused by the accepted fact number `sequence`; independent of backend and offset."""
    return derive(conversation, f":{sequence}:{nth}")


def is_uuid(text: str) -> bool:
    return canonical_uuid(text) is not None


def canonical_uuid(text: str) -> str | None:
    """`text` as a canonical lower-case UUID, or None if it is not one."""
    if len(text) != 36:
        return None
    try:
        return str(UUID(text))
    except ValueError:
        return None
