"""What WhatsApp certainly refuses in a message, refused before the call with a sentence that says what to change.

Never stricter than Meta's pages: null is absent, a type that is not known here is WhatsApp's to judge, and the message
is sent as it was written.
"""

from collections.abc import Callable, Mapping, Sequence

from airy.errors import Refused
from airy.sources import payload

TEXT_MAX, CAPTION_MAX, BODY_MAX = 4_096, 1_024, 1_024  # characters
HEADER_MAX, FOOTER_MAX = 60, 60
BUTTONS_MAX, BUTTON_TITLE_MAX, BUTTON_ID_MAX = 3, 20, 256
SECTIONS_MAX, SECTION_TITLE_MAX, ROWS_MAX = 10, 24, 10
ROW_TITLE_MAX, ROW_TEXT_MAX, ROW_ID_MAX = 24, 72, 200

Fields = Mapping[str, object]


def check(body: Fields) -> str:
    """The type of the message. Raises `Refused`, naming the field."""
    kind = type_of(body)
    if kind in RULES:
        RULES[kind](body.get(kind))
    elif not isinstance(body.get(kind), dict | list):
        raise Refused(f"{kind} is missing: it holds the message of this type", field=kind)
    return kind


def type_of(body: Fields) -> str:
    """As written, else by the one member that is a body. Raises `Refused`."""
    written = body.get("type")
    if written is not None:
        if not isinstance(written, str) or not written:
            raise Refused("type is a word such as text", field="type")
        return written
    given = [name for name in RULES if body.get(name) is not None]
    if len(given) != 1:
        raise Refused(f"a message has one of {', '.join(RULES)}", field="type")
    return given[0]


def _text(node: object) -> None:
    _words(_object(node, "text").get("body"), "text.body", TEXT_MAX)


def _media(name: str) -> Callable[[object], None]:
    def rule(node: object) -> None:
        fields = _object(node, name)
        link = fields.get("link")
        if payload.identifier(fields.get("id")) is None and link is None:
            raise Refused(f"{name} has neither id nor link", field=name)
        if link is not None and not (
            isinstance(link, str) and link.strip().lower().startswith(("https://", "http://"))
        ):
            raise Refused(f"{name}.link is not a web address WhatsApp can fetch", field=f"{name}.link")
        if fields.get("caption") not in (None, ""):
            _words(fields.get("caption"), f"{name}.caption", CAPTION_MAX)

    return rule


def _location(node: object) -> None:
    fields = _object(node, "location")
    for name in ("latitude", "longitude"):
        if isinstance(fields.get(name), bool) or not isinstance(fields.get(name), int | float | str):
            raise Refused(f"location.{name} is missing", field=f"location.{name}")


def _contacts(node: object) -> None:
    _list(node, "contacts", None)


def _reaction(node: object) -> None:
    if payload.identifier(_object(node, "reaction").get("message_id")) is None:
        raise Refused("reaction.message_id is missing: the message that is reacted to", field="reaction.message_id")


def _template(node: object) -> None:
    fields = _object(node, "template")
    _words(fields.get("name"), "template.name", 512)
    _words(_object(fields.get("language"), "template.language").get("code"), "template.language.code", 16)


def _interactive(node: object) -> None:
    fields = _object(node, "interactive")
    kind = fields.get("type")
    if not isinstance(kind, str) or not kind:
        raise Refused("interactive.type is missing: button, list, cta_url …", field="interactive.type")
    header, footer = payload.record(fields.get("header")), payload.record(fields.get("footer"))
    if header.get("type") == "text":
        _words(header.get("text"), "interactive.header.text", HEADER_MAX)
    if footer:
        _words(footer.get("text"), "interactive.footer.text", FOOTER_MAX)
    if kind in {"button", "list", "cta_url"}:
        text = _object(fields.get("body"), "interactive.body").get("text")
        _words(text, "interactive.body.text", TEXT_MAX if kind == "list" else BODY_MAX)
        action = _object(fields.get("action"), "interactive.action")
        {"button": _buttons, "list": _rows, "cta_url": _link}[kind](action)


def _buttons(action: Fields) -> None:
    titles = []
    for place, button in _list(action.get("buttons"), "interactive.action.buttons", BUTTONS_MAX):
        reply = _object(button.get("reply"), f"{place}.reply")
        _words(reply.get("id"), f"{place}.reply.id", BUTTON_ID_MAX)
        titles.append(_words(reply.get("title"), f"{place}.reply.title", BUTTON_TITLE_MAX))
    if len(set(titles)) < len(titles):
        raise Refused("two buttons have the same title", field="interactive.action.buttons")


def _rows(action: Fields) -> None:
    _words(action.get("button"), "interactive.action.button", BUTTON_TITLE_MAX)
    sections = _list(action.get("sections"), "interactive.action.sections", SECTIONS_MAX)
    for place, section in sections:
        if len(sections) > 1:
            _words(section.get("title"), f"{place}.title", SECTION_TITLE_MAX)
        for where, row in _list(section.get("rows"), f"{place}.rows", ROWS_MAX):
            _words(row.get("id"), f"{where}.id", ROW_ID_MAX)
            _words(row.get("title"), f"{where}.title", ROW_TITLE_MAX)
            if row.get("description") not in (None, ""):
                _words(row.get("description"), f"{where}.description", ROW_TEXT_MAX)


def _link(action: Fields) -> None:
    parameters = _object(action.get("parameters"), "interactive.action.parameters")
    _words(parameters.get("display_text"), "interactive.action.parameters.display_text", BUTTON_TITLE_MAX)
    _words(parameters.get("url"), "interactive.action.parameters.url", 2_000)


def _words(thing: object, path: str, characters_max: int) -> str:
    if not isinstance(thing, str) or not thing.strip():
        raise Refused(f"{path} is missing or empty", field=path)
    if len(thing) > characters_max:
        raise Refused(f"{path} has {len(thing)} characters and WhatsApp takes {characters_max}", field=path)
    return thing


def _object(thing: object, path: str) -> Fields:
    if not isinstance(thing, dict):
        raise Refused(f"{path} is not an object", field=path)
    return thing


def _list(thing: object, path: str, count_max: int | None) -> Sequence[tuple[str, Fields]]:
    """The objects of a list that is not empty, each with its place."""
    if not isinstance(thing, list) or not thing:
        raise Refused(f"{path} is not a list with something in it", field=path)
    if count_max is not None and len(thing) > count_max:
        raise Refused(f"{path} has {len(thing)} entries and WhatsApp takes {count_max}", field=path)
    return [(f"{path}[{index}]", _object(part, f"{path}[{index}]")) for index, part in enumerate(thing)]


RULES: Mapping[str, Callable[[object], None]] = {
    "text": _text,
    **{name: _media(name) for name in ("image", "video", "audio", "document", "sticker")},
    "location": _location,
    "contacts": _contacts,
    "interactive": _interactive,
    "template": _template,
    "reaction": _reaction,
}
