"""Telegram's messages and canonical content, both ways. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from airy.errors import Refused
from airy.sources import canonical, payload
from airy.sources.canonical import Button, CardContent, ChoiceContent, Content, Contents, MediaContent, TextContent

CALLBACK_BYTES_MAX = 64
CARD_BYTES_MAX = 2_048
MEDIA: Mapping[str, canonical.MediaKind] = {
    "video": "video",
    "video_note": "video",
    "live_photo": "video",
    "voice": "voice",
    "audio": "audio",
    "sticker": "sticker",
    "document": "file",
}
ENVELOPE = frozenset(  # who, when, where and how, of messages of every kind
    {
        *("message_id", "message_thread_id", "ephemeral_message_id", "date", "edit_date", "chat", "from"),
        *("sender_chat", "sender_boost_count", "sender_business_bot", "sender_tag", "receiver_user", "via_bot"),
        *("business_connection_id", "is_topic_message", "direct_messages_topic", "is_from_offline", "is_paid_post"),
        *("is_automatic_forward", "forward_origin", "reply_to_message", "external_reply", "quote", "reply_to_story"),
        *("reply_to_checklist_task_id", "has_protected_content", "media_group_id", "author_signature"),
        *("paid_star_count", "effect_id", "suggested_post_info", "link_preview_options", "reply_markup"),
        *("caption", "caption_entities", "show_caption_above_media", "has_media_spoiler", "entities"),
    }
)
METHOD_FIELDS: Mapping[canonical.MediaKind, str] = {
    "image": "photo",
    "video": "video",
    "audio": "audio",
    "voice": "voice",
    "file": "document",
    "sticker": "sticker",
}


def canonical_of(content: Mapping[str, object]) -> Contents:
    """The contents of a message, or of a tap."""
    if "data" in content or "game_short_name" in content:
        return (canonical.PostbackContent(payload=payload.text(content.get("data"))),)
    found: list[Content] = []
    media = _media(content)
    text = payload.text(content.get("text"))
    if media is not None:
        found.append(media)
    elif text is not None:
        found.append(TextContent(text=text))
    spot = _location(content)
    if spot is not None:
        found.append(spot)
    person = _person(payload.record(content.get("contact")))
    if person is not None:
        found.append(canonical.ContactsContent(contacts=(person,)))
    return tuple(found) or (canonical.RawContent(kind=_kind(content)),)


def _media(content: Mapping[str, object]) -> MediaContent | None:
    caption = payload.text(content.get("caption"))
    photos = content.get("photo")
    if isinstance(photos, list) and photos:  # sizes of one picture, the largest last
        return _file("image", payload.record(photos[-1]), caption)
    if "animation" in content:  # comes with the same file as document
        return _file("video", payload.record(content["animation"]), caption)
    for name, kind in MEDIA.items():
        if name in content:
            return _file(kind, payload.record(content[name]), caption)
    return None


def _file(kind: canonical.MediaKind, node: Mapping[str, object], caption: str | None) -> MediaContent:
    size = node.get("file_size")
    return MediaContent(
        kind=kind,
        media_id=payload.text(node.get("file_id")),
        mime=payload.text(node.get("mime_type")),
        size=size if isinstance(size, int) and not isinstance(size, bool) else None,
        filename=payload.text(node.get("file_name")),
        caption=caption,
    )


def _location(content: Mapping[str, object]) -> canonical.LocationContent | None:
    venue = payload.record(content.get("venue"))
    spot = payload.record(venue.get("location")) or payload.record(content.get("location"))
    latitude, longitude = spot.get("latitude"), spot.get("longitude")
    if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
        return None
    name, address = payload.text(venue.get("title")), payload.text(venue.get("address"))
    return canonical.LocationContent(latitude=float(latitude), longitude=float(longitude), name=name, address=address)


def _person(contact: Mapping[str, object]) -> canonical.ContactEntry | None:
    phone = payload.text(contact.get("phone_number"))
    names = (payload.text(contact.get("first_name")), payload.text(contact.get("last_name")))
    name = " ".join(each for each in names if each) or None
    return (
        None if phone is None and name is None else canonical.ContactEntry(name=name, phones=(phone,) if phone else ())
    )


def _kind(content: Mapping[str, object]) -> str:
    """What the message is, by the first of its members that only says it."""
    return next((name for name in content if name not in ENVELOPE), "message")


# --- outbound


def fields_of(content: Content) -> dict[str, object]:
    """The fields of one send method for a content. Raises `Refused`."""
    found: dict[str, object] | None = None
    match content:
        case TextContent(text=text):
            found = {"text": text}
        case MediaContent(kind="sticker", caption=str()):
            raise Refused("telegram shows no caption below a sticker: send it as text", field="canonical")
        case MediaContent(kind=kind, caption=caption) if content.media_id or content.url:
            found = {METHOD_FIELDS[kind]: content.media_id or content.url, **({"caption": caption} if caption else {})}
        case canonical.LocationContent(name=None, address=None):
            found = _spot(content)
        case canonical.LocationContent(name=name, address=address):  # a venue has both
            found = {**_spot(content), "title": name or address, "address": address or name}
        case canonical.ContactsContent(contacts=(person,)) if person.phones:
            found = {
                "phone_number": person.phones[0],
                "first_name": person.name or person.phones[0],
                **_card_of(person),
            }
        case ChoiceContent(text=text, options=options):
            found = {"text": text, **_keyboard(options)}
        case CardContent():
            found = _card(content)
    if found is None:
        raise canonical.unsupported(content, "telegram")
    return found


def _card_of(person: canonical.ContactEntry) -> dict[str, object]:
    """What the fields of a contact have no place for, as a vCard (RFC 2426)."""
    if len(person.phones) == 1 and not person.emails:
        return {}
    name = _escaped(person.name or person.phones[0])
    told = [("TEL", phone) for phone in person.phones] + [("EMAIL", address) for address in person.emails]
    shown = (f"{key}:{_escaped(text)}" for key, text in told)
    lines = ("BEGIN:VCARD", "VERSION:3.0", f"N:;{name};;;", f"FN:{name}", *shown, "END:VCARD")
    card = "\r\n".join(lines)
    if len(card.encode(errors="replace")) > CARD_BYTES_MAX:
        raise Refused(
            f"a contact has more than {CARD_BYTES_MAX} bytes, which telegram does not take", field="canonical"
        )
    return {"vcard": card}


def _escaped(text: str) -> str:
    for character in ("\\", ",", ";"):
        text = text.replace(character, f"\\{character}")
    return text.replace("\r", "").replace("\n", "\\n")


def _spot(content: canonical.LocationContent) -> dict[str, object]:
    return {"latitude": content.latitude, "longitude": content.longitude}


def _card(card: CardContent) -> dict[str, object]:
    text = "\n".join(part for part in (card.title, card.subtitle, card.url) if part)
    body: dict[str, Any] = {"photo": card.image, "caption": text} if card.image else {"text": text}
    return body | _keyboard(card.buttons)


def _keyboard(buttons: Sequence[Button]) -> dict[str, object]:
    rows = [[_key(button)] for button in buttons]
    return {"reply_markup": {"inline_keyboard": rows}} if rows else {}


def _key(button: Button) -> dict[str, object]:
    told = button.payload or button.title
    if button.kind == "url":
        return {"text": button.title, "url": told}
    if button.kind == "call":
        raise Refused("telegram has no buttons that call a number: send it as text", field="canonical")
    if len(told.encode(errors="replace")) > CALLBACK_BYTES_MAX:
        message = f"a button's payload has more than {CALLBACK_BYTES_MAX} bytes, which telegram does not take"
        raise Refused(message, field="canonical")
    return {"text": button.title, "callback_data": told}
