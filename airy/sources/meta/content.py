"""Meta's message objects and canonical content, both ways. Pure.

Inbound shapes that have no word in the vocabulary become `raw` with Meta's name for them. Outbound content becomes the
`message` object of the Send API.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from airy.errors import Refused
from airy.sources import canonical, payload
from airy.sources.canonical import (
    Button,
    CardContent,
    CarouselCard,
    CarouselContent,
    ChoiceContent,
    Content,
    Contents,
    MediaContent,
    TemplateContent,
    TextContent,
)
from airy.sources.meta.message_rules import Dialect
from airy.sources.provider_time import time_ms

STORY_MS = 86_400_000
MEDIA_KINDS: Mapping[str, canonical.MediaKind] = {
    "image": "image",
    "video": "video",
    "audio": "audio",
    "file": "file",
    "sticker": "sticker",
    "ig_reel": "video",
    "reel": "video",
}
CARD_KINDS = frozenset({"fallback", "ig_post", "ig_story", "media", "post", "share", "story"})
OUTBOUND_KINDS: Mapping[canonical.MediaKind, str] = {"voice": "audio", "sticker": "image"}
BUTTON_KINDS = {"web_url": "url", "phone_number": "call"}


def canonical_of(fields: Mapping[str, object]) -> Contents:
    """The contents of an element that holds a message or a postback."""
    if "message" in fields:
        return _message(payload.record(fields["message"]), fields.get("timestamp"))
    node = payload.record(fields.get("postback"))
    return (
        canonical.PostbackContent(title=payload.text(node.get("title")), payload=payload.text(node.get("payload"))),
    )


def _message(node: Mapping[str, object], timestamp: object) -> Contents:
    found: list[Content] = []
    tapped = payload.text(payload.record(node.get("quick_reply")).get("payload"))
    text = payload.text(node.get("text"))
    if tapped is not None:
        found.append(canonical.PostbackContent(title=text, payload=tapped))
    elif text is not None:
        found.append(TextContent(text=text))
    story = payload.record(payload.record(node.get("reply_to")).get("story"))
    if story:
        found.insert(0, canonical.StoryContent(kind="reply", url=payload.text(story.get("url"))))
    found += _attachments(node.get("attachments"), timestamp)
    if not found and node.get("is_unsupported") is True:
        found.append(canonical.SystemContent(description="a kind of message that Meta does not pass on"))
    return tuple(found) or (canonical.RawContent(kind="message"),)


def _attachments(given: object, timestamp: object) -> list[Content]:
    """A sticker comes alone or beside the same image; a post alone or beside the same share: each is one content."""
    nodes = [payload.record(each) for each in given] if isinstance(given, list) else []
    kinds = [payload.text(node.get("type")) or "unknown" for node in nodes]
    sticker = any(payload.record(node.get("payload")).get("sticker_id") is not None for node in nodes)
    twins = {"image"} if sticker and "sticker" in kinds else set()
    twins |= {"share"} if "ig_post" in kinds else set()
    return [_attachment(kind, node, timestamp) for kind, node in zip(kinds, nodes, strict=True) if kind not in twins]


def _attachment(kind: str, node: Mapping[str, object], timestamp: object) -> Content:
    details = payload.record(node.get("payload"))
    url = payload.text(details.get("url")) or payload.text(node.get("url"))
    title = payload.text(details.get("title")) or payload.text(node.get("title"))
    found: Content | None = None
    if kind in MEDIA_KINDS and url is not None:
        sticker = kind == "image" and details.get("sticker_id") is not None
        found = MediaContent(kind="sticker" if sticker else MEDIA_KINDS[kind], url=url, caption=title)
    elif kind == "location":
        found = _location(payload.record(details.get("coordinates")), title)
    elif kind in CARD_KINDS and (url is not None or title is not None):
        found = CardContent(title=title or url or "", url=url)
    elif kind == "story_mention":
        found = _mention(url, timestamp)
    elif kind == "ephemeral":
        found = canonical.SystemContent(description="a photo or video that could be seen once")
    elif kind == "template":
        found = _template(details, title)
    return found or canonical.RawContent(kind=kind)


def _location(spot: Mapping[str, object], name: str | None) -> canonical.LocationContent | None:
    latitude, longitude = _number(spot.get("lat")), _number(spot.get("long"))
    if latitude is None or longitude is None:
        return None
    return canonical.LocationContent(latitude=latitude, longitude=longitude, name=name)


def _mention(url: str | None, timestamp: object) -> canonical.StoryContent:
    at_ms = time_ms(timestamp)
    return canonical.StoryContent(kind="mention", url=url, expires_at_ms=None if at_ms is None else at_ms + STORY_MS)


def _template(details: Mapping[str, object], title: str | None) -> Content:
    elements = details.get("elements")
    cards = tuple(_card(payload.record(each)) for each in elements) if isinstance(elements, list) else ()
    if cards:
        return CarouselContent(cards=cards)
    text = payload.text(details.get("text")) or title
    options = _buttons(details.get("buttons"))
    return ChoiceContent(text=text or "", options=options) if options else canonical.RawContent(kind="template")


def _card(node: Mapping[str, object]) -> CarouselCard:
    action = payload.record(node.get("default_action"))
    return CarouselCard(
        title=payload.text(node.get("title")) or "",
        subtitle=payload.text(node.get("subtitle")),
        image=payload.text(node.get("image_url")),
        url=payload.text(action.get("url")) or payload.text(node.get("item_url")),
        buttons=_buttons(node.get("buttons")),
    )


def _buttons(given: object) -> tuple[Button, ...]:
    found = []
    for each in given if isinstance(given, list) else ():
        node = payload.record(each)
        kind: Any = BUTTON_KINDS.get(str(node.get("type")), "reply")
        found.append(
            Button(
                title=payload.text(node.get("title")) or "",
                payload=payload.text(node.get("url")) or payload.text(node.get("payload")),
                kind=kind,
            )
        )
    return tuple(found)


def _number(thing: object) -> float | None:
    return float(thing) if isinstance(thing, int | float) and not isinstance(thing, bool) else None


# --- outbound


def message_of(content: Content, dialect: Dialect) -> dict[str, object]:
    """The message object for a content. Raises `Refused`."""
    found: dict[str, object] | None = None
    match content:
        case TemplateContent() if "template" in dialect.bodies:
            found = {"template": _template_of(content, dialect)}
        case TextContent(text=text):
            found = {"text": text}
        case MediaContent():
            found = _media(content, dialect)
        case ChoiceContent() if content.options:
            found = _choice(content, dialect)
        case CardContent(subtitle=None, image=None, url=None, buttons=()):
            found = {"text": content.title}  # Meta takes no template of a title alone
        case CardContent():
            found = _templated({"template_type": "generic", "elements": [_element(content, dialect)]})
        case CarouselContent(cards=cards):
            found = _templated({"template_type": "generic", "elements": [_element(card, dialect) for card in cards]})
    if found is None:
        raise canonical.unsupported(content, dialect.title)
    return found


def _media(content: MediaContent, dialect: Dialect) -> dict[str, object] | None:
    if content.caption is not None:
        raise Refused(
            f"{dialect.title} cannot send canonical content of type media with a caption: send the text as a message "
            "of its own",
            field="canonical",
        )
    kind = OUTBOUND_KINDS.get(content.kind, content.kind)
    if content.url is not None:
        return _attached(kind, {"url": content.url})
    if content.kind == "sticker" and content.media_id is not None and "sticker_id" in dialect.bodies:
        return {"sticker_id": content.media_id}
    return None if content.media_id is None else _attached(kind, {"attachment_id": content.media_id})


def _template_of(content: TemplateContent, dialect: Dialect) -> dict[str, object]:
    """`components`: parameters by the type of their component, or the whole list as `components`."""
    if not content.language:
        raise Refused(f"a template of {dialect.title} needs its language, such as en", field="canonical")
    parts = content.components.get("components")
    if parts is None:
        parts = [{"type": kind, "parameters": given} for kind, given in content.components.items()]
    template = {"name": content.name, "language": {"code": content.language}}
    return template | ({"components": parts} if parts else {})


def _choice(content: ChoiceContent, dialect: Dialect) -> dict[str, object]:
    """Quick replies, or buttons where one of the options is not a reply."""
    if any(each.kind != "reply" for each in content.options):
        buttons = _written(content.options, dialect)
        return _templated({"template_type": "button", "text": content.text, "buttons": buttons})
    replies = [
        {"content_type": "text", "title": each.title, "payload": each.payload or each.title} for each in content.options
    ]
    return {"text": content.text, "quick_replies": replies}


def _attached(kind: str, details: Mapping[str, object]) -> dict[str, object]:
    return {"attachment": {"type": kind, "payload": details}}


def _templated(details: Mapping[str, object]) -> dict[str, object]:
    return _attached("template", details)


def _element(card: CardContent | CarouselCard, dialect: Dialect) -> dict[str, object]:
    given = {
        "title": card.title,
        "subtitle": card.subtitle,
        "image_url": card.image,
        "default_action": {"type": "web_url", "url": card.url} if card.url else None,
        "buttons": _written(card.buttons, dialect) or None,
    }
    return {name: part for name, part in given.items() if part is not None}


def _written(buttons: Sequence[Button], dialect: Dialect) -> list[dict[str, object]]:
    """Raises `Refused`."""
    if not dialect.calls and any(each.kind == "call" for each in buttons):
        raise Refused(f"{dialect.title} has no buttons that call a number: send it as text", field="canonical")
    types = {"reply": "postback", "url": "web_url", "call": "phone_number"}
    return [
        {
            "type": types[each.kind],
            "title": each.title,
            "url" if each.kind == "url" else "payload": each.payload or each.title,
        }
        for each in buttons
    ]
