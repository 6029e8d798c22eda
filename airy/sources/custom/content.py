"""What contents of custom sources say in common terms. Pure.

A source writes any JSON. Text is a JSON string or `text`; a file is `attachment` in the shape of the chat plugin; and a
source that knows the common terms writes `canonical` itself, one content or a list.
"""

from collections.abc import Mapping, Sequence

import msgspec

from airy.sources import canonical, payload
from airy.sources.canonical import Content, Contents, MediaContent, RawContent, TextContent

CONTENTS_MAX = 64
MEDIA_KINDS: Mapping[str, canonical.MediaKind] = {
    "image": "image",
    "video": "video",
    "audio": "audio",
    "voice": "voice",
    "file": "file",
    "sticker": "sticker",
}


def canonical_of(content: object) -> Contents:
    """Of a content whose `canonical` is valid; see `check`."""
    if isinstance(content, str):
        return (TextContent(text=content),) if payload.text(content) else (RawContent(kind="message"),)
    node = payload.record(content)
    if node.get("canonical") is not None:
        try:
            return _written(node["canonical"])
        except msgspec.ValidationError:
            return (RawContent(kind="message"),)
    found: list[Content] = []
    if text := payload.text(node.get("text")):
        found.append(TextContent(text=text))
    attachment = payload.record(node.get("attachment"))
    kind = MEDIA_KINDS.get(str(attachment.get("type")))
    url = payload.text(payload.record(attachment.get("payload")).get("url"))
    if kind is not None and url is not None:
        found.append(MediaContent(kind=kind, url=url))
    return tuple(found) or (RawContent(kind="message"),)


def check(content: object, field: str) -> None:
    """Raises `Refused` for `canonical` that is not in common terms."""
    wanted = payload.record(content).get("canonical")
    if wanted is None:
        return
    try:
        _written(wanted)
    except msgspec.ValidationError as error:
        raise canonical.refused(error, f"{field}.canonical") from error


def _written(wanted: object) -> Contents:
    """Raises `msgspec.ValidationError`."""
    several = isinstance(wanted, Sequence) and not isinstance(wanted, str)
    contents: Contents = msgspec.convert(wanted, Contents) if several else (msgspec.convert(wanted, Content),)
    if not 0 < len(contents) <= CONTENTS_MAX:
        raise msgspec.ValidationError(f"expected 1 to {CONTENTS_MAX} contents, got {len(contents)}")
    return contents


def outbound(content: object) -> object:
    """A message of ours as the source is given it: what the caller wrote, and the text beside canonical text.

    Raises `Refused`.
    """
    wanted = canonical.outbound(content)
    if wanted is None:
        return content
    text = {"text": wanted.text} if isinstance(wanted, TextContent) else {}
    beside = {name: part for name, part in payload.record(content).items() if name != "canonical"}
    return {**text, **beside, "canonical": msgspec.to_builtins(wanted)}
