"""What Meta certainly refuses in a message, refused before the call with a sentence that says what to change.

Never stricter than Meta's pages: a member that is null, or an empty list where nothing is required, counts as absent;
titles and payloads may be numbers; what the pages leave open is Meta's to judge. The message is sent as it was written.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from airy.errors import Refused
from airy.sources import payload

BODIES = frozenset({"text", "attachment", "attachments", "sticker_id", "template"})
"""A message has exactly one of these."""

TEXT_CHARACTERS_MAX = 2000  # of titles and payloads
BUTTON_TEXT_CHARACTERS_MAX = 640
QUICK_REPLIES_MAX = 13
BUTTONS_MAX = 3
ELEMENTS_MAX = 10
REPLY_TYPES = frozenset({"text", "user_phone_number", "user_email"})
MEDIA = frozenset({"image", "video", "audio", "file"})


class Dialect(Struct, frozen=True, kw_only=True):
    """Where Messenger and Instagram differ. `correlates`: `metadata` comes back in the echo."""

    title: str
    text_max: int
    text_unit: Literal["characters", "bytes"]
    images_max: int  # of `attachments`
    without_payload: frozenset[str] = frozenset()  # attachment types that are complete by themselves
    without_bodies: frozenset[str] = frozenset()  # those of `BODIES` it lacks
    correlates: bool = False
    calls: bool = False  # whether a button may call a number

    @property
    def bodies(self) -> frozenset[str]:
        return BODIES - self.without_bodies


MESSENGER = Dialect(
    title="messenger", text_max=2000, text_unit="characters", images_max=30, correlates=True, calls=True
)
INSTAGRAM = Dialect(
    title="instagram",
    text_max=1000,
    text_unit="bytes",
    images_max=10,
    without_payload=frozenset({"like_heart"}),
    without_bodies=frozenset({"sticker_id", "template"}),
)


def check(content: Mapping[str, object], dialect: Dialect) -> None:
    """Raises `Refused`, naming the field."""
    given = bodies(content)
    for name in sorted(given & dialect.without_bodies):
        raise Refused(f"{dialect.title} has no messages with {name}: send text or attachment", field=name)
    if len(given) != 1:
        raise Refused("a message has either text or attachment, and not both", field="message")
    if "text" in given:
        _text(content["text"], "text", dialect.text_max, dialect.title, dialect.text_unit)
    elif "attachments" in given:
        for path, image in _list(content["attachments"], "attachments", dialect.images_max, dialect.title):
            if _word(image.get("type")) != "image":
                raise Refused(f"{path}.type is image where several are sent at once", field=f"{path}.type")
            _media(_object(image.get("payload"), f"{path}.payload"), f"{path}.payload")
    elif "attachment" in given:
        _attachment(content["attachment"], dialect)
    for path, reply in _optional(content.get("quick_replies"), "quick_replies", QUICK_REPLIES_MAX, dialect.title):
        _quick_reply(reply, path, dialect)


def bodies(content: Mapping[str, object]) -> set[str]:
    """The bodies of a message that say something."""
    return {name for name in BODIES if not _is_absent(content.get(name))}


def _attachment(attachment: object, dialect: Dialect) -> None:
    kind = _word(_object(attachment, "attachment").get("type"))
    if kind in dialect.without_payload:
        return
    details = _object(payload.record(attachment).get("payload"), "attachment.payload")
    if kind == "template":
        _template(details, dialect)
    elif kind in MEDIA:
        _media(details, "attachment.payload")
    elif dialect.title == "instagram" and kind == "media_share":
        if payload.identifier(details.get("id")) is None:
            raise Refused("attachment.payload.id is missing: the post to share", field="attachment.payload.id")
    else:
        known = ", ".join(sorted({*MEDIA, *dialect.without_payload, "template"}))
        raise Refused(f"attachment.type is one of {known}, not {kind!r}", field="attachment.type")


def _media(details: Mapping[str, object], path: str) -> None:
    url, uploaded = details.get("url"), payload.identifier(details.get("attachment_id"))
    if _is_absent(url) and uploaded is None:
        raise Refused(f"{path} has neither url nor attachment_id", field=path)
    if not _is_absent(url) and not (isinstance(url, str) and url.strip().lower().startswith(("https://", "http://"))):
        raise Refused(f"{path}.url is not a web address Meta can fetch", field=f"{path}.url")


def _template(details: Mapping[str, object], dialect: Dialect) -> None:
    path, kind = "attachment.payload", details.get("template_type")
    if not isinstance(kind, str) or not kind:
        raise Refused(
            "attachment.payload.template_type is missing: generic, button, media …",
            field=f"{path}.template_type",
        )
    if kind == "button":
        _text(details.get("text"), f"{path}.text", BUTTON_TEXT_CHARACTERS_MAX, dialect.title)
        _buttons(details.get("buttons"), f"{path}.buttons", dialect)
    elif kind in {"generic", "media"}:
        elements = _list(
            details.get("elements"), f"{path}.elements", ELEMENTS_MAX if kind == "generic" else 1, dialect.title
        )
        for place, element in elements:
            if kind == "generic":
                _label(element.get("title"), f"{place}.title", dialect.title)
            else:
                _media(element, place)
            if not _is_absent(element.get("buttons")):
                _buttons(element["buttons"], f"{place}.buttons", dialect)


def _buttons(buttons: object, path: str, dialect: Dialect) -> None:
    for place, button in _list(buttons, path, BUTTONS_MAX, dialect.title):
        _text(button.get("type"), f"{place}.type", TEXT_CHARACTERS_MAX, dialect.title)


def _quick_reply(reply: Mapping[str, object], path: str, dialect: Dialect) -> None:
    kind = _word(reply.get("content_type"))
    if kind not in REPLY_TYPES:
        raise Refused(f"{path}.content_type is one of {', '.join(sorted(REPLY_TYPES))}, not {kind!r}", field=path)
    if kind == "text":
        pictured = not _is_absent(reply.get("image_url"))  # then the picture says it
        for name in ("title", "payload"):
            if not (pictured and _is_absent(reply.get(name))):
                _label(reply.get(name), f"{path}.{name}", dialect.title)


def _label(thing: object, path: str, title: str) -> None:
    """A title or a payload."""
    number = isinstance(thing, int | float) and not isinstance(thing, bool)
    _text(str(thing) if number else thing, path, TEXT_CHARACTERS_MAX, title)


def _text(thing: object, path: str, limit: int, title: str, unit: str = "characters") -> None:
    if not isinstance(thing, str) or not thing.strip():
        raise Refused(f"{path} is missing or empty", field=path)
    length = len(thing.encode(errors="replace")) if unit == "bytes" else len(thing)
    if length > limit:
        raise Refused(f"{path} has {length} {unit} and {title} takes {limit}: split it", field=path)


def _word(thing: object) -> str | None:
    """`thing` in lower case if it is text: a list or an object cannot be looked up in a set."""
    return thing.lower() if isinstance(thing, str) else None


def _is_absent(thing: object) -> bool:
    return thing is None or (isinstance(thing, str | list | dict) and not thing)


def _object(thing: object, path: str) -> Mapping[str, object]:
    if not isinstance(thing, dict):
        raise Refused(f"{path} is not an object", field=path)
    return thing


def _list(thing: object, path: str, count_max: int, title: str) -> Sequence[tuple[str, Mapping[str, object]]]:
    """The objects of a list that is not empty, each with its place."""
    if not isinstance(thing, list) or not thing:
        raise Refused(f"{path} is not a list with something in it", field=path)
    if len(thing) > count_max:
        raise Refused(f"{path} has {len(thing)} entries and {title} takes {count_max}", field=path)
    return [(f"{path}[{index}]", _object(part, f"{path}[{index}]")) for index, part in enumerate(thing)]


def _optional(thing: object, path: str, count_max: int, title: str) -> Sequence[tuple[str, Mapping[str, object]]]:
    return () if _is_absent(thing) else _list(thing, path, count_max, title)
