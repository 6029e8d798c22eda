"""Canonical content becomes the message object of the Cloud API. Pure."""

from collections.abc import Mapping, Sequence

from airy.errors import Refused
from airy.sources import canonical
from airy.sources.canonical import (
    Button,
    CardContent,
    ChoiceContent,
    ContactEntry,
    ContactsContent,
    Content,
    LocationContent,
    MediaContent,
    TemplateContent,
    TextContent,
)
from airy.sources.whatsapp.message_rules import (
    BUTTON_TITLE_MAX,
    BUTTONS_MAX,
    ROW_TITLE_MAX,
    ROWS_MAX,
)

TYPES: Mapping[canonical.MediaKind, str] = {"voice": "audio", "file": "document"}
CAPTIONED = frozenset({"image", "video", "document"})
LIST_BUTTON = "≡"  # opens the list; canonical content has no word for it, and its language is not known

Fields = dict[str, object]


def message_of(content: Content) -> Fields:
    """Raises `Refused`."""
    found: Fields | None = None
    match content:
        case TextContent(text=text):
            found = {"type": "text", "text": {"body": text}}
        case MediaContent() if content.media_id or content.url:
            found = _media(content)
        case LocationContent():
            found = {"type": "location", "location": _present(content, "latitude", "longitude", "name", "address")}
        case ContactsContent(contacts=people):
            found = {"type": "contacts", "contacts": [_person(each) for each in people]}
        case ChoiceContent(text=text, options=options) if options:
            found = _interactive({"text": text}, options)
        case CardContent():
            found = _card(content)
        case TemplateContent():
            found = _template(content)
    if found is None:
        raise canonical.unsupported(content, "whatsapp")
    return found


def _media(content: MediaContent) -> Fields:
    kind = TYPES.get(content.kind, content.kind)
    node: Fields = {"id": content.media_id} if content.media_id else {"link": content.url}
    if content.caption:
        if kind not in CAPTIONED:
            raise Refused(
                f"canonical: whatsapp shows no caption below a {content.kind}: send it as text", field="canonical"
            )
        node["caption"] = content.caption
    if content.filename and kind == "document":
        node["filename"] = content.filename
    if content.kind == "voice":
        node["voice"] = True
    return {"type": kind, kind: node}


def _person(entry: ContactEntry) -> Fields:
    name = entry.name or (entry.phones[0] if entry.phones else None)
    if name is None:
        raise Refused("canonical: a contact has a name or a phone", field="canonical")
    given: Fields = {"name": {"formatted_name": name, "first_name": name}}
    if entry.phones:
        given["phones"] = [{"phone": phone} for phone in entry.phones]
    if entry.emails:
        given["emails"] = [{"email": email} for email in entry.emails]
    return given


def _interactive(body: Fields, options: Sequence[Button], *, image: str | None = None) -> Fields:
    """Up to three replies are buttons, more are a list; one address is a button that opens it."""
    kinds = {each.kind for each in options}
    header: Fields = {"header": {"type": "image", "image": {"link": image}}} if image else {}
    if kinds == {"url"} and len(options) == 1:
        link = {"display_text": options[0].title, "url": options[0].payload or ""}
        action: Fields = {"name": "cta_url", "parameters": link}
        return _wrapped({"type": "cta_url", **header, "body": body, "action": action})
    if kinds != {"reply"}:
        raise Refused(
            "canonical: whatsapp has replies, or one button that opens an address, and none that calls: "
            "send the others as text",
            field="canonical",
        )
    if len(options) <= BUTTONS_MAX and all(len(each.title) <= BUTTON_TITLE_MAX for each in options):
        buttons = [
            {"type": "reply", "reply": {"id": each.payload or each.title, "title": each.title}} for each in options
        ]
        return _wrapped({"type": "button", **header, "body": body, "action": {"buttons": buttons}})
    if image is not None or len(options) > ROWS_MAX or any(len(each.title) > ROW_TITLE_MAX for each in options):
        raise Refused(
            f"canonical: whatsapp takes {BUTTONS_MAX} buttons of {BUTTON_TITLE_MAX} characters, or below a text a list "
            f"of {ROWS_MAX} options of {ROW_TITLE_MAX}",
            field="canonical",
        )
    rows = [{"id": each.payload or each.title, "title": each.title} for each in options]
    return _wrapped({"type": "list", "body": body, "action": {"button": LIST_BUTTON, "sections": [{"rows": rows}]}})


def _card(card: CardContent) -> Fields:
    told = [part for part in (card.title, card.subtitle) if part]
    if card.buttons:
        link = [card.url] if card.url else []
        return _interactive({"text": "\n".join([*told, *link])}, card.buttons, image=card.image)
    text = "\n".join([*told, *([card.url] if card.url else [])])
    if card.image:
        return {"type": "image", "image": {"link": card.image, "caption": text}}
    return {"type": "text", "text": {"body": text, "preview_url": card.url is not None}}


def _template(content: TemplateContent) -> Fields:
    """`components`: parameters by the type of their component, or the whole list as `components`."""
    if content.language is None:
        raise Refused("canonical: a template of whatsapp has a language, such as en_US", field="canonical")
    given = content.components
    parts = given.get("components")
    if parts is None:
        parts = [{"type": kind, "parameters": parameters} for kind, parameters in given.items()]
    node: Fields = {"name": content.name, "language": {"code": content.language}}
    return {"type": "template", "template": node | ({"components": parts} if parts else {})}


def _wrapped(interactive: Fields) -> Fields:
    return {"type": "interactive", "interactive": interactive}


def _present(content: LocationContent, *names: str) -> Fields:
    return {name: part for name in names if (part := getattr(content, name)) is not None}
