"""Metadata: a flat map from dotted key to JSON text, rendered as a nested document.

Invariant: no key is a dotted prefix of another, so the flat map is exactly one document. A value set later replaces
every key above or below it. Values are kept as the JSON they arrived as, so numbers keep their digits. An object is
only structure: an empty one is not stored. An array is one value, and so is the content of a suggested reply.
"""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Raw

from airy.errors import Refused

Flat = dict[str, Raw]

DEPTH_MAX = 32  # levels of nesting in one document
PARTS_MAX = 64  # dot-separated parts of one key
KEYS_MAX = 500  # per conversation or message

_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_ANY = msgspec.json.Decoder(Raw)
_TEXT = msgspec.json.Decoder(str)
_BLANK = b" \t\r\n"


def value(content: object) -> Raw:
    """`content` as JSON text."""
    return Raw(msgspec.json.encode(content))


def flatten(document: Raw | bytes | Mapping[str, object], prefix: str = "") -> Flat:
    """The leaves of a nested document, below `prefix`. Anything but an object has none.

    Raises `Refused` if the document is not JSON, too deep or too large.
    """
    text = msgspec.json.encode(document) if isinstance(document, Mapping) else bytes(document)
    try:
        _ANY.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(f"metadata is not JSON: {error}", field="data") from error
    flat: Flat = {}
    if text.lstrip(_BLANK).startswith(b"{"):
        _collect(flat, text, prefix or None, DEPTH_MAX)
    return flat


def _collect(flat: Flat, text: bytes, path: str | None, levels: int) -> None:
    if levels == 0:
        raise Refused(f"metadata is nested more than {DEPTH_MAX} levels deep", field="data")
    for key, raw in _OBJECT.decode(text).items():
        inner_path = key if path is None else f"{path}.{key}"
        inner = bytes(raw).strip(_BLANK)
        if inner.startswith(b"{"):
            _collect(flat, inner, inner_path, levels - 1)
        else:
            if too_long(inner_path):
                raise Refused(f"a metadata key has more than {PARTS_MAX} parts", field="data")
            put(flat, inner_path, Raw(inner))
            if len(flat) > KEYS_MAX:
                raise Refused(f"metadata has more than {KEYS_MAX} keys", field="data")


def too_long(key: str) -> bool:
    """Whether a key has more parts than a document may nest."""
    return key.count(".") >= PARTS_MAX


def put(flat: Flat, key: str, content: Raw) -> None:
    """Set one key, removing keys above and below it."""
    if key not in flat:
        _clear_below(flat, key)
        above, dot, _ = key.rpartition(".")
        while dot:
            flat.pop(above, None)
            above, dot, _ = above.rpartition(".")
    flat[key] = content


def drop(flat: Flat, key: str) -> None:
    """Remove one key with everything below it."""
    if flat.pop(key, None) is None:
        _clear_below(flat, key)


def _clear_below(flat: Flat, key: str) -> None:
    if flat:
        below = key + "."
        for other in [other for other in flat if other.startswith(below)]:
            del flat[other]


def changed(flat: Flat, settings: Mapping[str, Raw], removals: Iterable[str]) -> Flat | None:
    """A copy with `removals` removed and then `settings` set; None if nothing differs."""
    after = dict(flat)
    for key in removals:
        drop(after, key)
    for key, content in settings.items():
        put(after, key, content)
    return None if after == flat else after


def nest(flat: Mapping[str, Raw]) -> dict[str, object]:
    """The nested document. Its leaves are JSON text."""
    document: dict[str, object] = {}
    for key, content in flat.items():
        *path, last = key.split(".")
        node = document
        for part in path:
            inner = node.get(part)
            if not isinstance(inner, dict):
                inner = node[part] = {}
            node = inner
        node[last] = content
    return document


def section(document: dict[str, object], name: str) -> dict[str, object]:
    """The object called `name` in a nested document. Created if missing, replacing a plain value."""
    inner = document.get(name)
    if not isinstance(inner, dict):
        inner = document[name] = {}
    return inner


def text(flat: Mapping[str, Raw], key: str) -> str | None:
    """The value of `key` if it is a string."""
    raw = flat.get(key)
    if raw is None:
        return None
    try:
        return _TEXT.decode(raw)
    except msgspec.ValidationError:
        return None


def conflicts(flat: Mapping[str, Raw]) -> list[str]:
    """Keys that are a dotted prefix of another key. Empty while the invariant holds."""
    return [key for key in flat if any(other.startswith(key + ".") for other in flat)]
