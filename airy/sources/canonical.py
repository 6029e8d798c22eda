"""Canonical content: one vocabulary for what a message says, whatever its provider.

It stands beside the raw payload, so that inbox, console and bots need not know ten formats. A message has one or more
contents, in order; what has no word here is `raw`, and only the payload says more. `messages.send` takes one content
as `{"canonical": {"type": "text", "text": "…"}}`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

import msgspec
from msgspec import Raw, Struct

from airy.errors import Refused

MediaKind = Literal["image", "video", "audio", "voice", "file", "sticker"]
ButtonKind = Literal["reply", "url", "call"]
ContentName = Literal[
    "text",
    "image",
    "video",
    "audio",
    "voice",
    "file",
    "sticker",
    "location",
    "contacts",
    "card",
    "carousel",
    "choice",
    "template",
    "story",
    "postback",
    "system",
]
"""What a content is called in lists and tables: its type, and for media its kind."""
Field = TypeVar("Field")
MEDIA: tuple[ContentName, ...] = ("image", "video", "audio", "voice", "file", "sticker")


class ContentBase(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    pass


class TextContent(ContentBase, frozen=True, kw_only=True, omit_defaults=True, tag="text"):
    text: str


class MediaContent(ContentBase, frozen=True, kw_only=True, omit_defaults=True, tag="media"):
    """`media_id` is the provider's name for the file, where a call is needed to get it."""

    kind: MediaKind
    url: str | None = None
    media_id: str | None = None
    mime: str | None = None
    size: int | None = None  # bytes
    sha256: str | None = None
    filename: str | None = None
    caption: str | None = None


class LocationContent(ContentBase, frozen=True, kw_only=True, omit_defaults=True, tag="location"):
    latitude: float
    longitude: float
    name: str | None = None
    address: str | None = None


class ContactEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: str | None = None
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()


class ContactsContent(ContentBase, frozen=True, kw_only=True, omit_defaults=True, tag="contacts"):
    contacts: tuple[ContactEntry, ...]


class Button(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`payload` is what comes back from a reply; for `url` and `call` it is the address or the number."""

    title: str
    payload: str | None = None
    kind: ButtonKind = "reply"


class CarouselCard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    title: str
    subtitle: str | None = None
    image: str | None = None
    url: str | None = None  # where the card leads
    buttons: tuple[Button, ...] = ()


class CardContent(ContentBase, frozen=True, kw_only=True, omit_defaults=True, tag="card"):
    title: str
    subtitle: str | None = None
    image: str | None = None
    url: str | None = None  # where the card leads
    buttons: tuple[Button, ...] = ()


class CarouselContent(ContentBase, frozen=True, kw_only=True, omit_defaults=True, tag="carousel"):
    cards: tuple[CarouselCard, ...]


class ChoiceContent(ContentBase, frozen=True, kw_only=True, omit_defaults=True, tag="choice"):
    text: str
    options: tuple[Button, ...]


class TemplateContent(ContentBase, frozen=True, kw_only=True, omit_defaults=True, tag="template"):
    """A message the provider approved before; `components` fill it in, in the provider's own shape."""

    name: str
    language: str | None = None
    components: dict[str, object] = {}


class StoryContent(ContentBase, frozen=True, kw_only=True, omit_defaults=True, tag="story"):
    """The contact mentioned us in a story, or answered one of ours. Gone at the provider after `expires_at_ms`."""

    kind: Literal["mention", "reply"]
    url: str | None = None
    expires_at_ms: int | None = None


class PostbackContent(ContentBase, frozen=True, kw_only=True, omit_defaults=True, tag="postback"):
    """The contact tapped a button or an option."""

    title: str | None = None
    payload: str | None = None


class SystemContent(ContentBase, frozen=True, kw_only=True, omit_defaults=True, tag="system"):
    description: str


class RawContent(ContentBase, frozen=True, kw_only=True, omit_defaults=True, tag="raw"):
    """Something the provider's payload alone describes; `kind` is its word for it."""

    kind: str = ""


Content = (
    TextContent
    | MediaContent
    | LocationContent
    | ContactsContent
    | CardContent
    | CarouselContent
    | ChoiceContent
    | TemplateContent
    | StoryContent
    | PostbackContent
    | SystemContent
    | RawContent
)

Contents = tuple[Content, ...]


def name_of(content: Content) -> str:
    """A `ContentName`, or `raw`."""
    return content.kind if isinstance(content, MediaContent) else str(content.__struct_config__.tag)


def encode(contents: Contents) -> Raw:
    """As facts and messages hold it: a JSON array."""
    return Raw(msgspec.json.encode(contents))


def outbound(given: object) -> Content | None:
    """The canonical content of a message to be sent; None if it is written in the provider's own shape.

    Raises `Refused`.
    """
    if not isinstance(given, Mapping) or given.get("canonical") is None:
        return None
    wanted, field = given["canonical"], "canonical"
    if isinstance(wanted, Sequence) and not isinstance(wanted, str) and len(wanted) == 1:
        wanted, field = wanted[0], "canonical[0]"
    try:
        content: Content = msgspec.convert(wanted, Content)
    except msgspec.ValidationError as error:
        raise refused(error, field) from error
    if isinstance(content, RawContent | StoryContent | PostbackContent | SystemContent):
        raise Refused(f"canonical content of type {content.__struct_config__.tag} cannot be sent", field="canonical")
    return content


def fields_to_send(given: object, fields_of: Callable[[Content], Mapping[str, object]]) -> dict[str, object]:
    """The provider's fields of a message to be sent: as they are given, or what canonical content becomes, and the
    fields beside it. Null is not given. Raises `Refused`.
    """
    members = given if isinstance(given, Mapping) else {}
    fields = {name: part for name, part in members.items() if name != "canonical" and part is not None}
    wanted = outbound(given)
    return fields if wanted is None else with_fields(fields_of(wanted), fields)


def with_fields(found: Mapping[str, Field], beside: Mapping[str, Field]) -> dict[str, Field]:
    """What canonical content became, and the provider's own fields beside it. Raises `Refused` if they contradict."""
    for name in sorted(found.keys() & beside.keys()):
        if found[name] != beside[name]:
            raise Refused(f"canonical says what {name} is: leave {name} out", field=name)
    return {**beside, **found}


def refused(error: msgspec.ValidationError, field: str) -> Refused:
    """The error for what is not canonical content; its field is the path to the part that is not."""
    message, _, path_below = str(error).partition(" - at `$")
    path = field + path_below.rstrip("`")
    return Refused(f"{path}: {message[:1].lower()}{message[1:]}", field=path)


def unsupported(content: Content, kind: str) -> Refused:
    """The error for a content that this kind of channel cannot carry."""
    tag = content.__struct_config__.tag
    return Refused(
        f"{kind} cannot send canonical content of type {tag}: use one it has, or its own payload", field="canonical"
    )
