"""A view: which rows a command prints, of what type, and how a table shows them. Pure.

Rows are JSON objects as the API has them; `row` is their type, from which the published schema is made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Document = Mapping[str, Any]

ABSENT = "-"
ZERO_WIDTH_JOINER = "\u200d"  # joins emoji


@dataclass(frozen=True)
class Field:
    """A column of a table. `value`: a dotted path into the row, or a function of the row.

    `chars_min`: of a table whose rows come one by one, so that later ones are aligned with the first.
    `styles`: of a cell on a terminal, by its text, as names of colours. `spare`: left out on a narrow terminal.
    """

    title: str
    value: str | Callable[[Document], object]
    align: Literal["left", "right"] = "left"
    chars_max: int | None = None
    chars_min: int = 0
    styles: Mapping[str, str] = field(default_factory=dict)
    spare: bool = False

    def cell(self, row: Document) -> str:
        text = shown(at(row, self.value) if isinstance(self.value, str) else self.value(row))
        if self.chars_max is not None and len(text) > self.chars_max:
            return f"{text[: self.chars_max - 1]}…"
        return text


@dataclass(frozen=True)
class View:
    """`name`: of its schema in docs/schemas. `one`: a single object, whose fields a table shows below each other.

    `what`: the rows in words, for "no conversations". `order`: sorts rows that the API does not list in an order.
    """

    name: str
    row: Any
    fields: tuple[Field, ...]
    what: str = ""
    one: bool = False
    order: Callable[[Document], Any] | None = None


def seconds(path: str) -> Callable[[Document], object]:
    """The time at a path, which the API gives in ms, in seconds: `2026-01-01T00:00:00Z`."""

    def cut(row: Document) -> object:
        value = at(row, path)
        return f"{value[:19]}Z" if isinstance(value, str) and len(value) > 19 else value

    return cut


def at(row: Document, path: str) -> object:
    """The value at a dotted path; None if a part is absent."""
    value: object = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def shown(value: object) -> str:
    """A value as a cell, on one line and with control characters escaped; `-` for nothing."""
    if value is None or value in ("", [], (), {}):
        return ABSENT
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(map(shown, value))
        case Mapping():
            return ", ".join(f"{printable(str(name))}={shown(inner)}" for name, inner in value.items())
        case _:
            return printable(str(value))


def printable(text: str, *, lines: bool = False) -> str:
    """`text` with every character escaped that is not printable: no terminal sequence in it takes effect.

    `lines`: line breaks and tabs are kept.
    """
    kept = f"{ZERO_WIDTH_JOINER}\n\t" if lines else ZERO_WIDTH_JOINER
    return "".join(
        character
        if character.isprintable() or character in kept
        else character.encode("unicode_escape", "backslashreplace").decode()
        for character in text
    )
