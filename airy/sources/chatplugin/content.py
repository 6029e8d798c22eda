"""Contents of the chat plugin and canonical content, both ways. Pure.

The widget renders text, attachments, quick replies, cards and carousels in the shapes of the original; whatever an
agent sends in another shape is passed on as it is.
"""

from collections.abc import Mapping, Sequence

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
    PostbackContent,
    RawContent,
    TextContent,
)
from airy.sources.chatplugin.spec import KIND

MEDIA_KINDS: Mapping[str, canonical.MediaKind] = {"image": "image", "video": "video", "audio": "audio", "file": "file"}
WIDGET_KINDS: Mapping[canonical.MediaKind, str] = {"voice": "audio", "sticker": "image"}


def canonical_of(content: object) -> Contents:
    """What a visitor wrote. A tap on a suggestion is a text with `postbackData`."""
    if isinstance(content, str):
        return (TextContent(text=content),) if payload.text(content) else (RawContent(kind="message"),)
    node = payload.record(content)
    text, tapped = payload.text(node.get("text")), payload.text(node.get("postbackData"))
    attachment = payload.record(node.get("attachment"))
    kind, url = MEDIA_KINDS.get(str(attachment.get("type"))), payload.text(_url(attachment))
    found: list[Content] = []
    if tapped is not None:
        found.append(PostbackContent(title=text, payload=tapped))
    elif text is not None:
        found.append(TextContent(text=text))
    if kind is not None and url is not None:
        found.append(MediaContent(kind=kind, url=url))
    return tuple(found) or (RawContent(kind="message"),)


def _url(attachment: Mapping[str, object]) -> object:
    return payload.record(attachment.get("payload")).get("url")


def widget_content(content: object) -> object:
    """The content of an outbound message in the widget's shape. Raises `Refused` for what the widget cannot show."""
    return content if canonical.outbound(content) is None else canonical.fields_to_send(content, _in_widget_shape)


def _in_widget_shape(wanted: Content) -> dict[str, object]:
    match wanted:
        case TextContent(text=text):
            return {"text": text}
        case MediaContent(kind=kind, url=str(url), caption=None):
            return {"attachment": {"type": WIDGET_KINDS.get(kind, kind), "payload": {"url": url}}}
        case ChoiceContent(text=text, options=options) if all(option.kind == "reply" for option in options):
            return {"text": text, "quick_replies": [_quick_reply(option) for option in options]}
        case CardContent(title=title):
            return {"fallback": title, "richCard": {"standaloneCard": {"cardContent": _card(wanted)}}}
        case CarouselContent(cards=cards):
            contents = [_card(card) for card in cards]
            fallback = ", ".join(card.title for card in cards)
            return {"fallback": fallback, "richCard": {"carouselCard": {"cardContents": contents}}}
        case _:
            raise canonical.unsupported(wanted, KIND)


def _quick_reply(option: Button) -> dict[str, object]:
    return {"content_type": "text", "title": option.title, "payload": option.payload or option.title}


def _card(card: CardContent | CarouselCard) -> dict[str, object]:
    document: dict[str, object] = {"title": card.title}
    if card.subtitle is not None:
        document["description"] = card.subtitle
    if card.image is not None:
        document["media"] = {"height": "MEDIUM", "contentInfo": {"fileUrl": card.image, "altText": card.title}}
    leads_to = () if card.url is None else (Button(title=card.title, payload=card.url, kind="url"),)
    suggestions = _suggestions((*card.buttons, *leads_to))
    if suggestions:
        document["suggestions"] = suggestions
    return document


def _suggestions(buttons: Sequence[Button]) -> list[dict[str, object]]:
    return [_suggestion(button) for button in buttons]


def _suggestion(button: Button) -> dict[str, object]:
    data = button.payload or button.title
    match button.kind:
        case "url":
            return {"action": {"text": button.title, "postbackData": data, "openUrlAction": {"url": data}}}
        case "call":
            return {"action": {"text": button.title, "postbackData": data, "dialAction": {"phoneNumber": data}}}
        case "reply":
            return {"reply": {"text": button.title, "postbackData": data}}
