"""What a caller is shown of a record: its JSON, text or bytes, bounded, and never with a secret.

Three masks, because none suffices alone: by field, of the entities that hold secrets or their hashes; by the name of a
field, anywhere in a JSON value; and by value, of sealed text and of the secrets in the configuration. A value that no
mask can be applied to is withheld where a secret may be in it.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from airy import topics
from airy.bus.dead_letter import TOPIC_PREFIX
from airy.bus.record import Record
from airy.log import SECRET_FIELD
from airy.seal import SEALED
from airy.secret import MASK

VALUE_BYTES_MAX = 65_536  # of one value
KEY_CHARS_MAX = 512
HEADERS_MAX = 64  # of one record
HEADER_CHARS_MAX = 2_048  # of one header's value

Encoding = Literal["json", "text", "base64", "none", "withheld"]
"""`none`: a tombstone. `withheld`: it may hold a secret, and is no JSON in which one could be masked."""

Mask = Callable[[str], str]

SECRET_FIELDS: Mapping[str, frozenset[str]] = {
    topics.CHANNELS.name: frozenset({"token", "secrets", "previous_secret"}),
    topics.USERS.name: frozenset({"sha256"}),
    topics.WEBHOOKS.name: frozenset({"headers", "signature_key", "secrets"}),
    topics.API_TOKENS.name: frozenset({"sha256"}),
    topics.CUSTOM_SOURCES.name: frozenset({"tokens"}),
}
"""Fields of entities that hold sealed text or the hash of a token."""

_SECRET_IN_TEXT = re.compile(
    rf"""((?:{SECRET_FIELD.pattern})[\w-]{{0,32}}["']?[=:][ ]?["']?)[^&\s"',;]+""", re.IGNORECASE
)
"""`name=value` and `name: value` in text that is no JSON, such as a form."""

_ANY_ENTITY = frozenset[str]().union(*SECRET_FIELDS.values())


class ShownRecord(Struct, frozen=True, kw_only=True):
    """`cut`: the value is longer, and text or base64 of its beginning is shown. `masked`: something was masked."""

    partition: int
    offset: int
    timestamp_ms: int
    key: str
    headers: list[tuple[str, str]]
    size_bytes: int
    encoding: Encoding
    value: Raw | str | None
    cut: bool = False
    masked: bool = False


def shown_record(record: Record, mask: Mask) -> ShownRecord:
    """`mask` hides the secrets of the configuration in text."""
    encoding, value, cut, masked = _value(record, mask)
    headers = [(name, _header(name, content, mask)) for name, content in record.headers[:HEADERS_MAX]]
    return ShownRecord(
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        key=_text(record.key, mask)[:KEY_CHARS_MAX],
        headers=headers,
        size_bytes=len(record.key) + len(record.value or b""),
        encoding=encoding,
        value=value,
        cut=cut,
        masked=masked or any(MASK in content for _, content in headers),
    )


def secret_fields(topic: str) -> frozenset[str]:
    """Of the records of a topic. A dead letter may be one of any entity."""
    if topic == f"{TOPIC_PREFIX}{topics.EVENTS.name}":
        return _ANY_ENTITY
    return SECRET_FIELDS.get(topic, frozenset())


def _value(record: Record, mask: Mask) -> tuple[Encoding, Raw | str | None, bool, bool]:
    if record.value is None:
        return "none", None, False, False
    fields = secret_fields(record.topic)
    try:
        decoded = msgspec.json.decode(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if fields and record.value:
            return "withheld", None, False, True
        return _plain(record.value, mask)
    before = msgspec.json.encode(decoded).decode()
    after = _masked(msgspec.json.encode(_clean("", decoded, fields)).decode(), mask)
    if len(after.encode()) <= VALUE_BYTES_MAX:
        return "json", Raw(after.encode()), False, after != before
    return "text", _first_bytes(after), True, after != before


def _plain(value: bytes, mask: Mask) -> tuple[Encoding, str, bool, bool]:
    cut = len(value) > VALUE_BYTES_MAX
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "base64", b64encode(value[:VALUE_BYTES_MAX]).decode(), cut, False
    masked = _masked(_SECRET_IN_TEXT.sub(lambda found: found[1] + MASK, text), mask)
    return "text", _first_bytes(masked), cut, masked != text


def _clean(name: str, value: object, fields: frozenset[str]) -> object:
    if (name in fields or SECRET_FIELD.search(name)) and not isinstance(value, bool | int | float | None):
        return MASK
    if isinstance(value, dict):
        return {key: _clean(key, item, fields) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean("", item, fields) for item in value]
    return value


def _header(name: str, content: bytes, mask: Mask) -> str:
    return MASK if SECRET_FIELD.search(name) else _text(content, mask)[:HEADER_CHARS_MAX]


def _text(content: bytes, mask: Mask) -> str:
    return _masked(content.decode("utf-8", "backslashreplace"), mask)


def _masked(text: str, mask: Mask) -> str:
    return mask(SEALED.sub(MASK, text))


def _first_bytes(text: str) -> str:
    return text.encode()[:VALUE_BYTES_MAX].decode("utf-8", "ignore")
