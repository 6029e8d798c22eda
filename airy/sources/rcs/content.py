"""RCS events and canonical content, both ways. Pure."""

from collections.abc import Mapping

from airy.errors import Refused
from airy.sources import canonical, payload, provider_answer
from airy.sources.canonical import CardContent, CarouselContent, Content, Contents, MediaContent
from airy.sources.google_api import cards

SUGGESTIONS_MAX = 11
KINDS: Mapping[str, canonical.MediaKind] = {"image": "image", "video": "video", "audio": "audio"}

Fields = dict[str, object]


def canonical_of(event: Mapping[str, object]) -> Contents:
    """The contents of a message of the contact."""
    tapped = payload.record(event.get("suggestionResponse"))
    if tapped:
        title, told = payload.text(tapped.get("text")), payload.text(tapped.get("postbackData"))
        return (canonical.PostbackContent(title=title, payload=told),)
    found: list[Content] = []
    text = payload.text(event.get("text"))
    if text is not None:
        found.append(canonical.TextContent(text=text))
    media = _file(payload.record(payload.record(event.get("userFile")).get("payload")))
    if media is not None:
        found.append(media)
    spot = payload.record(event.get("location"))
    latitude, longitude = _degrees(spot.get("latitude")), _degrees(spot.get("longitude"))
    if latitude is not None and longitude is not None:
        found.append(canonical.LocationContent(latitude=latitude, longitude=longitude))
    return tuple(found) or (canonical.RawContent(kind="message"),)


def _file(given: Mapping[str, object]) -> MediaContent | None:
    url = payload.text(given.get("fileUri")) or payload.text(given.get("fileUrl"))
    if url is None:
        return None
    mime = payload.text(given.get("mimeType"))
    return MediaContent(
        kind=KINDS.get((mime or "").partition("/")[0], "file"),
        url=url,
        mime=mime,
        size=provider_answer.number(given.get("fileSizeBytes")),
        filename=payload.text(given.get("fileName")),
    )


def _degrees(written: object) -> float | None:
    return float(written) if isinstance(written, int | float) and not isinstance(written, bool) else None


# --- outbound


def fields_of(content: Content) -> Fields:
    """The `contentMessage` for a content. Raises `Refused`."""
    match content:
        case canonical.TextContent(text=text):
            return {"text": text}
        case MediaContent(url=str(url)):
            return _media(content, url)
        case canonical.ChoiceContent(text=text, options=options):
            return {"text": text, "suggestions": cards.suggestions(options, SUGGESTIONS_MAX)}
        case CardContent() | CarouselContent():
            return {"richCard": cards.rich_card(content)}
    raise canonical.unsupported(content, "rcs")


def _media(media: MediaContent, url: str) -> Fields:
    """A file has no caption; a picture or film with one is a card."""
    if not media.caption:
        return {"contentInfo": {"fileUrl": url}}
    if media.kind not in {"image", "video"}:
        raise Refused(f"rcs sends no caption with {media.kind}: send it as text before the file", field="canonical")
    return {"richCard": cards.standalone({"description": media.caption, "media": cards.media(url)})}
