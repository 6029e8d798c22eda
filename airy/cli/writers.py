"""The four formats of output. A writer gets rows page by page and never holds more than a page."""

import json
import re
from collections.abc import Sequence
from typing import Literal, Protocol, TextIO

import rich_click as click
from rich.cells import cell_len, set_cell_size

from airy.cli.view import Document, Field, View

Format = Literal["table", "json", "yaml", "ndjson"]

GAP = "  "
LAST_COLUMNS_MIN = 24  # of a table from which spare columns are left out
UNPRINTABLE = re.compile(r"[\x7f-\x9f\u061c\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


class RowWriter(Protocol):
    written: int  # rows

    def write(self, rows: Sequence[Document]) -> None:
        """Write a page of rows."""
        ...

    def close(self) -> None:
        """Write what follows the last row."""
        ...


class TableWriter:
    """Columns are as wide as on the first page, or wider. `columns`: of the terminal, None off a terminal.

    On a terminal that is too narrow, spare columns are left out, the right ones first, and the rest is cut.
    """

    def __init__(self, view: View, out: TextIO, *, columns: int | None, coloured: bool) -> None:
        self._view = view
        self._out = out
        self._columns = columns
        self._coloured = coloured
        self._fields: tuple[Field, ...] = ()  # those shown, from the first page on
        self._widths: list[int] = []
        self.written = 0

    def write(self, rows: Sequence[Document]) -> None:
        if not rows:
            return
        self.written += len(rows)
        if self._view.one:
            self._write_one([field.cell(rows[0]) for field in self._view.fields])
            return
        first = not self._fields
        if first:
            self._fields = _fitting(self._view.fields, rows, self._columns)
            self._widths = [max(cell_len(field.title), field.chars_min) for field in self._fields]
        cells = [[field.cell(row) for field in self._fields] for row in rows]
        self._widths = [max(wide, *(cell_len(line[at]) for line in cells)) for at, wide in enumerate(self._widths)]
        if first:
            self._out.write(self._line([field.title for field in self._fields], header=True) + "\n")
        self._out.writelines(f"{self._line(line)}\n" for line in cells)
        self._out.flush()

    def close(self) -> None:
        pass

    def _write_one(self, cells: Sequence[str]) -> None:
        fields = self._view.fields
        wide = max(cell_len(field.title) for field in fields)
        for field, cell in zip(fields, cells, strict=True):
            label = click.style(f"{field.title:<{wide}}", bold=True) if self._coloured else f"{field.title:<{wide}}"
            self._out.write(f"{label}{GAP}{self._styled(cell, cell, field)}\n")

    def _line(self, cells: Sequence[str], *, header: bool = False) -> str:
        """The cells in their columns, cut at the edge of the terminal."""
        room = self._columns
        parts: list[str] = []
        last = len(cells) - 1
        for number, (cell, field, wide) in enumerate(zip(cells, self._fields, self._widths, strict=True)):
            text = _padded(cell, field, wide, last=number == last)
            text = text if number == last else f"{text}{GAP}"
            if room is not None:
                text = cut(text, room)
                room -= cell_len(text)
            parts.append(self._bold(text) if header else self._styled(text, cell, field))
        return "".join(parts).rstrip()

    def _bold(self, text: str) -> str:
        return click.style(text, bold=True) if self._coloured else text

    def _styled(self, text: str, cell: str, field: Field) -> str:
        style = field.styles.get(cell) if self._coloured else None
        return click.style(text, fg=style) if style else text


def _fitting(fields: tuple[Field, ...], rows: Sequence[Document], columns: int | None) -> tuple[Field, ...]:
    """The fields without as many spare ones as do not fit."""
    while columns is not None and _least_width(fields, rows) > columns and any(field.spare for field in fields):
        last = max(number for number, field in enumerate(fields) if field.spare)
        fields = (*fields[:last], *fields[last + 1 :])
    return fields


def _least_width(fields: Sequence[Field], rows: Sequence[Document]) -> int:
    """Of a table with these fields, in which the last one may be cut."""
    widths = [
        max(cell_len(field.title), field.chars_min, *(cell_len(field.cell(row)) for row in rows)) for field in fields
    ]
    return sum(widths[:-1]) + len(GAP) * (len(widths) - 1) + min(widths[-1], LAST_COLUMNS_MIN)


def _padded(cell: str, field: Field, wide: int, *, last: bool) -> str:
    space = " " * (wide - cell_len(cell))
    if field.align == "right":
        return space + cell
    return cell if last else cell + space


def cut(text: str, room: int) -> str:
    """`text` in so many columns of a terminal."""
    if cell_len(text) <= room:
        return text
    if not text[room - 1 :].strip():
        return set_cell_size(text, room)
    return set_cell_size(text, room - 1) + "…" if room > 0 else ""


class JsonWriter:
    def __init__(self, view: View, out: TextIO) -> None:
        self._one = view.one
        self._out = out
        self.written = 0

    def write(self, rows: Sequence[Document]) -> None:
        for row in rows:
            text = safe_json(row, indent=2)
            if self._one:
                self._out.write(text)
            else:
                self._out.write(("[\n" if self.written == 0 else ",\n") + re.sub("^", "  ", text, flags=re.MULTILINE))
            self.written += 1

    def close(self) -> None:
        self._out.write("\n" if self._one else ("\n]\n" if self.written else "[]\n"))


class NdjsonWriter:
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.written = 0

    def write(self, rows: Sequence[Document]) -> None:
        """The lines are visible at once, also in a pipe."""
        self.written += len(rows)
        self._out.write("".join(f"{safe_json(row)}\n" for row in rows))
        self._out.flush()

    def close(self) -> None:
        pass


class YamlWriter:
    def __init__(self, view: View, out: TextIO) -> None:
        self._one = view.one
        self._out = out
        self.written = 0

    def write(self, rows: Sequence[Document]) -> None:
        import yaml

        for row in rows:
            value = row if self._one else [row]
            readable = not UNPRINTABLE.search(json.dumps(row, ensure_ascii=False))
            yaml.safe_dump(value, self._out, sort_keys=False, allow_unicode=readable)
            self.written += 1

    def close(self) -> None:
        if not self.written and not self._one:
            self._out.write("[]\n")


def safe_json(value: object, *, indent: int | None = None) -> str:
    """JSON in which invisible characters are escaped: those of ASCII by JSON's own rule, others here."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
