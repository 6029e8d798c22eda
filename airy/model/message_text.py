"""The text of a message for search: what a person reads in it, without ids, addresses of files and codes."""

import msgspec

from airy.model.conversation import Message
from airy.model.raw import none_if_null

TEXT_CHARS_MAX = 16_384  # of a message; the rest is not searchable
DEPTH_MAX = 16

TEXT_KEYS = frozenset(
    {"text", "body", "caption", "title", "subtitle", "name", "address", "description", "filename", "emails", "phones"}
)
"""In lower case, of canonical content and of the payloads of providers."""

_decode = msgspec.json.Decoder().decode
_RAW_TYPE = "raw"


def message_text(message: Message) -> str:
    """Lines of text, at most `TEXT_CHARS_MAX` characters; empty if the message is deleted or has no text.

    Of the canonical content; of the payload where there is none or where it refers to the payload.
    """
    if message.deleted:
        return ""
    canonical = none_if_null(message.canonical)
    document = None if canonical is None else _document(canonical)
    if not isinstance(document, list) or any(_is_raw(part) for part in document):
        document = _document(message.content)
    found: list[str] = []
    if isinstance(document, str):
        found.append(document)
    else:
        _collect(document, found, of_text=False, levels=DEPTH_MAX)
    return "\n".join(found)[:TEXT_CHARS_MAX]


def _document(text: msgspec.Raw) -> object:
    try:
        return _decode(text)
    except (msgspec.DecodeError, RecursionError):  # content of a record is kept as it arrived
        return None


def _is_raw(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == _RAW_TYPE


def _collect(node: object, found: list[str], *, of_text: bool, levels: int) -> None:
    """Adds the strings below keys of `TEXT_KEYS`, in the order of the document."""
    if levels == 0:
        return
    if isinstance(node, str):
        if of_text and node:
            found.append(node)
    elif isinstance(node, list):
        for inner in node:
            _collect(inner, found, of_text=of_text, levels=levels - 1)
    elif isinstance(node, dict):
        for key, inner in node.items():
            _collect(inner, found, of_text=key.lower() in TEXT_KEYS, levels=levels - 1)
