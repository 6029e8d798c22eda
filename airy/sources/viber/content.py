"""Viber's messages and canonical content, both ways. Pure.

A tap on a button sends its `ActionBody` as the contact's text. Our buttons whose payload is not their title are
`Silent`: the chat does not show the payload, and the callback says `silent`, which tells it from written text.
"""

import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from airy.errors import Refused
from airy.sources import canonical, payload
from airy.sources.canonical import CardContent, CarouselContent, ChoiceContent, Content, Contents, MediaContent
from airy.sources.viber import buttons

MEDIA: Mapping[str, canonical.MediaKind] = {"picture": "image", "video": "video", "file": "file", "sticker": "sticker"}
SILENT_API_VERSION = 6  # of the contact's app

_DEGREES = re.compile(r"-?\d{1,3}(?:\.\d{1,20})?")


def canonical_of(event: Mapping[str, object]) -> Contents:
    """The contents of a callback."""
    if event.get("event") == "conversation_started":
        return (canonical.SystemContent(description="The contact opened the conversation."),)
    message = payload.record(event.get("message"))
    kind = payload.text(message.get("type")) or "message"
    found: Content | None = None
    match kind:
        case "text":
            found = _text(event, message)
        case "url":
            address = payload.text(message.get("media"))
            found = None if address is None else canonical.TextContent(text=address)
        case "location":
            found = _location(payload.record(message.get("location")))
        case "contact":
            found = _person(payload.record(message.get("contact")))
        case "picture" | "video" | "file" | "sticker":
            found = _media(MEDIA[kind], message)
    return (canonical.RawContent(kind=kind) if found is None else found,)


def tapped(event: Mapping[str, object]) -> str | None:
    """The payload of a button of ours."""
    message = payload.record(event.get("message"))
    silent = event.get("silent") is True and message.get("type") == "text"
    return payload.text(message.get("text")) if silent else None


def _text(event: Mapping[str, object], message: Mapping[str, object]) -> Content | None:
    told = tapped(event)
    if told is not None:
        return canonical.PostbackContent(payload=told)
    text = payload.text(message.get("text"))
    return None if text is None else canonical.TextContent(text=text)


def _media(kind: canonical.MediaKind, message: Mapping[str, object]) -> MediaContent | None:
    size = message.get("size")
    url = payload.text(message.get("media"))
    sticker = payload.identifier(message.get("sticker_id")) if kind == "sticker" else None
    if url is None and sticker is None:
        return None
    return MediaContent(
        kind=kind,
        url=url,
        media_id=sticker,
        size=size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None,
        filename=payload.text(message.get("file_name")),
        caption=payload.text(message.get("text")),
    )


def _location(spot: Mapping[str, object]) -> canonical.LocationContent | None:
    latitude, longitude = _degrees(spot.get("lat")), _degrees(spot.get("lon"))
    if latitude is None or longitude is None:
        return None
    return canonical.LocationContent(latitude=latitude, longitude=longitude, address=payload.text(spot.get("address")))


def _degrees(written: object) -> float | None:
    """A number, or one written as text, as in Viber's examples."""
    if isinstance(written, str) and _DEGREES.fullmatch(written):
        return float(written)
    return float(written) if isinstance(written, int | float) and not isinstance(written, bool) else None


def _person(contact: Mapping[str, object]) -> canonical.ContactsContent | None:
    name, phone = payload.text(contact.get("name")), payload.identifier(contact.get("phone_number"))
    if name is None and phone is None:
        return None
    entry = canonical.ContactEntry(name=name, phones=(phone,) if phone else ())
    return canonical.ContactsContent(contacts=(entry,))


# --- outbound


def fields_of(content: Content) -> dict[str, object]:
    """The fields of a message for a content. Raises `Refused`."""
    found: dict[str, object] | None = None
    match content:
        case canonical.TextContent(text=text):
            found = {"type": "text", "text": text}
        case MediaContent(kind="sticker", media_id=str(sticker)):
            found = {"type": "sticker", "sticker_id": int(sticker) if sticker.isdecimal() else sticker}
        case MediaContent(url=str(url)):
            found = _file(content, url)
        case canonical.LocationContent():
            found = _spot(content)
        case canonical.ContactsContent():
            found = _contact(content)
        case ChoiceContent(text=text, options=options) if options:
            versions = {"min_api_version": SILENT_API_VERSION} if any(map(buttons.is_silent, options)) else {}
            found = {"type": "text", "text": text, "keyboard": buttons.keyboard(options), **versions}
        case CardContent():
            found = buttons.rich_media([content])
        case CarouselContent(cards=cards) if cards:
            found = buttons.rich_media(cards)
    if found is None:
        raise canonical.unsupported(content, "viber")
    return found


def _spot(content: canonical.LocationContent) -> dict[str, object]:
    if content.name or content.address:
        raise Refused("viber shows a location without name and address: send them as text", field="canonical")
    return {"type": "location", "location": {"lat": content.latitude, "lon": content.longitude}}


def _contact(content: canonical.ContactsContent) -> dict[str, object]:
    match content.contacts:
        case (canonical.ContactEntry(name=name, phones=(phone,), emails=()),):
            return {"type": "contact", "contact": {"name": name or phone, "phone_number": phone}}
    only = "viber sends contacts one by one, each with one phone number and no e-mail address"
    raise Refused(only, field="canonical")


def _file(media: MediaContent, url: str) -> dict[str, object]:
    """Viber wants the size of everything but pictures; what has none is sent as its address."""
    if media.kind in {"image", "sticker"}:
        return {"type": "picture", "text": media.caption or "", "media": url}
    if media.size is None:
        return {"type": "text", "text": f"{media.caption}\n{url}"} if media.caption else {"type": "url", "media": url}
    if media.kind == "video":
        caption = {"text": media.caption} if media.caption else {}
        return {"type": "video", "media": url, "size": media.size, **caption}
    name = media.filename or unquote(urlsplit(url).path.rpartition("/")[2]) or media.kind
    if media.caption:
        raise Refused("viber sends no caption with a file: send it as text before the file", field="canonical")
    return {"type": "file", "media": url, "size": media.size, "file_name": name}
