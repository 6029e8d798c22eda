"""WhatsApp's messages as canonical content. Pure.

Content is the message object as WhatsApp wrote it; of an edit, the message with its new body. What has no word in the
vocabulary becomes `raw` with WhatsApp's name for it.
"""

from collections.abc import Callable, Mapping

from airy.sources import canonical, payload
from airy.sources.canonical import (
    ContactEntry,
    ContactsContent,
    Content,
    Contents,
    LocationContent,
    MediaContent,
    PostbackContent,
    RawContent,
    SystemContent,
    TextContent,
)

MEDIA_KINDS: Mapping[str, canonical.MediaKind] = {
    "image": "image",
    "video": "video",
    "audio": "audio",
    "document": "file",
    "sticker": "sticker",
}
UNSUPPORTED = "a kind of message that WhatsApp does not pass on"

Fields = Mapping[str, object]


def canonical_of(message: Fields) -> Contents:
    kind = payload.text(message.get("type")) or next((name for name in READERS if name in message), "message")
    node = payload.record(message.get(kind))
    found = READERS[kind](node, message) if kind in READERS else ()
    return found or (RawContent(kind=kind),)


def _text(node: Fields, _: Fields) -> Contents:
    text = payload.text(node.get("body"))
    return () if text is None else (TextContent(text=text),)


def _media(name: str) -> Callable[[Fields, Fields], Contents]:
    def read(node: Fields, _: Fields) -> Contents:
        media_id, url = payload.identifier(node.get("id")), payload.text(node.get("url"))
        if media_id is None and url is None:
            return ()
        return (
            MediaContent(
                kind="voice" if name == "audio" and node.get("voice") is True else MEDIA_KINDS[name],
                media_id=media_id,
                url=None if media_id is not None else url,  # of no use without the token, and gone in minutes
                mime=payload.text(node.get("mime_type")),
                sha256=payload.text(node.get("sha256")),
                filename=payload.text(node.get("filename")),
                caption=payload.text(node.get("caption")),
            ),
        )

    return read


def _location(node: Fields, _: Fields) -> Contents:
    latitude, longitude = _number(node.get("latitude")), _number(node.get("longitude"))
    if latitude is None or longitude is None:
        return ()
    name, address = payload.text(node.get("name")), payload.text(node.get("address"))
    return (LocationContent(latitude=latitude, longitude=longitude, name=name, address=address),)


def _contacts(_: Fields, message: Fields) -> Contents:
    given = message.get("contacts")
    entries = tuple(_entry(payload.record(each)) for each in given) if isinstance(given, list) else ()
    return (ContactsContent(contacts=entries),) if entries else ()


def _entry(node: Fields) -> ContactEntry:
    return ContactEntry(
        name=payload.text(payload.record(node.get("name")).get("formatted_name")),
        phones=_each(node.get("phones"), "phone", "wa_id"),
        emails=_each(node.get("emails"), "email"),
    )


def _each(given: object, *members: str) -> tuple[str, ...]:
    """Of every element the first of the members that it has."""
    nodes = [payload.record(each) for each in given] if isinstance(given, list) else []
    found = (next((text for name in members if (text := payload.identifier(node.get(name)))), None) for node in nodes)
    return tuple(text for text in found if text is not None)


def _interactive(node: Fields, _: Fields) -> Contents:
    answer = payload.record(node.get("button_reply")) or payload.record(node.get("list_reply"))
    if answer:
        return (PostbackContent(title=payload.text(answer.get("title")), payload=payload.identifier(answer.get("id"))),)
    form = payload.record(node.get("nfm_reply"))
    if form:
        said = payload.text(form.get("response_json"))
        return (PostbackContent(title=payload.text(form.get("body")) or payload.text(form.get("name")), payload=said),)
    return (RawContent(kind=f"interactive.{payload.text(node.get('type')) or 'unknown'}"),)


def _button(node: Fields, _: Fields) -> Contents:
    title, said = payload.text(node.get("text")), payload.text(node.get("payload"))
    return () if title is None and said is None else (PostbackContent(title=title, payload=said),)


def _order(node: Fields, _: Fields) -> Contents:
    text = payload.text(node.get("text"))
    found: list[Content] = [RawContent(kind="order")]
    return tuple(found if text is None else [TextContent(text=text), *found])


def _system(node: Fields, _: Fields) -> Contents:
    said = payload.text(node.get("body")) or payload.text(node.get("type"))
    return () if said is None else (SystemContent(description=said),)


def _unsupported(node: Fields, _: Fields) -> Contents:
    kind = payload.text(node.get("type"))
    return (SystemContent(description=UNSUPPORTED if kind is None else f"{UNSUPPORTED}: {kind}"),)


def _welcomed(_: Fields, __: Fields) -> Contents:
    return (SystemContent(description="the contact opened the chat for the first time"),)


def _number(thing: object) -> float | None:
    return float(thing) if isinstance(thing, int | float) and not isinstance(thing, bool) else None


READERS: Mapping[str, Callable[[Fields, Fields], Contents]] = {
    "text": _text,
    **{name: _media(name) for name in MEDIA_KINDS},
    "location": _location,
    "contacts": _contacts,
    "interactive": _interactive,
    "button": _button,
    "order": _order,
    "system": _system,
    "unsupported": _unsupported,
    "request_welcome": _welcomed,
}
