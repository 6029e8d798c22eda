"""Twilio's forms and canonical content, both ways. Pure."""

from collections.abc import Mapping

import msgspec

from airy.errors import Refused, Undecodable
from airy.sources import canonical, payload
from airy.sources.canonical import ChoiceContent, Content, Contents, MediaContent, TemplateContent, TextContent
from airy.sources.twilio import form

MEDIA_MAX = 10
KINDS: Mapping[str, canonical.MediaKind] = {"image": "image", "video": "video", "audio": "audio"}


def canonical_of(content: object) -> Contents:
    """The contents of an inbound form, given as text."""
    try:
        fields = dict(form.pairs(str(content).encode()))
    except Undecodable:
        return (canonical.RawContent(kind="form"),)
    return contents_of(fields)


def contents_of(fields: Mapping[str, str]) -> Contents:
    found: list[Content] = []
    text = payload.text(fields.get("Body"))
    tapped = payload.text(fields.get("ButtonPayload"))
    if tapped is not None or fields.get("ButtonText"):
        found.append(canonical.PostbackContent(title=payload.text(fields.get("ButtonText")) or text, payload=tapped))
    elif text is not None:
        found.append(TextContent(text=text))
    found += (media for index in range(MEDIA_MAX) if (media := _media(fields, index)) is not None)
    spot = _location(fields)
    if spot is not None:
        found.append(spot)
    return tuple(found) or (canonical.RawContent(kind=payload.text(fields.get("MessageType")) or "message"),)


def _media(fields: Mapping[str, str], index: int) -> MediaContent | None:
    url = payload.text(fields.get(f"MediaUrl{index}"))
    mime = payload.text(fields.get(f"MediaContentType{index}"))
    if url is None:
        return None
    return MediaContent(kind=KINDS.get((mime or "").partition("/")[0], "file"), url=url, mime=mime)


def _location(fields: Mapping[str, str]) -> canonical.LocationContent | None:
    try:
        latitude, longitude = float(fields["Latitude"]), float(fields["Longitude"])
    except (KeyError, ValueError):
        return None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        return None
    name, address = payload.text(fields.get("Label")), payload.text(fields.get("Address"))
    return canonical.LocationContent(latitude=latitude, longitude=longitude, name=name, address=address)


def fields_of(content: Content, kind: str) -> dict[str, object]:
    """The fields of a message for a content. Raises `Refused`."""
    match content:
        case TextContent(text=text):
            return {"Body": text}
        case MediaContent(url=str(url), caption=caption):
            return {"MediaUrl": [url], **({"Body": caption} if caption else {})}
        case ChoiceContent(text=text, options=options):
            if any(each.kind != "reply" for each in options):
                raise Refused(
                    f"{kind} sends a choice as text with numbered replies, without buttons that open an address or "
                    "call: send those as text",
                    field="canonical",
                )
            return {"Body": "\n".join((text, *(f"{number}. {each.title}" for number, each in enumerate(options, 1))))}
        case canonical.LocationContent(name=name, address=address) if kind == "twilio.whatsapp":
            spot, label = f"geo:{content.latitude},{content.longitude}", address or name
            return {
                "Body": name or address or "location",
                "PersistentAction": [f"{spot}|{label}" if label else spot],
            }
        case TemplateContent(name=name, components=components):
            variables = {"ContentVariables": msgspec.json.encode(components).decode()} if components else {}
            return {"ContentSid": name, **variables}
    raise canonical.unsupported(content, kind)
