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
    """Columns are as wide as on the first page, or wider. `columns`: of the terminal, None off a terminal."""

    def __init__(self, view: View, out: TextIO, *, columns: int | None, coloured: bool) -> None:
        self._view = view
        self._out = out
        self._columns = columns
        self._coloured = coloured
        self._widths: list[int] = []
        self.written = 0

    def write(self, rows: Sequence[Document]) -> None:
        if not rows:
            return
        self.written += len(rows)
        fields = self._view.fields
        cells = [[field.cell(row) for field in fields] for row in rows]
        if self._view.one:
            self._write_one(cells[0])
            return
        titles = [field.title for field in fields]
        headed = [titles, *cells] if not self._widths else cells
        before = self._widths or [0] * len(fields)
        self._widths = [max(wide, *(cell_len(line[number]) for line in headed)) for number, wide in enumerate(before)]
        for line in headed:
            self._out.write(self._line(line, header=line is titles) + "\n")
        self._out.flush()

    def close(self) -> None:
        pass

    def _write_one(self, cells: Sequence[str]) -> None:
        fields = self._view.fields
        wide = max(cell_len(field.title) for field in fields)
        for field, cell in zip(fields, cells, strict=True):
            label = click.style(f"{field.title:<{wide}}", bold=True) if self._coloured else f"{field.title:<{wide}}"
            self._out.write(f"{label}{GAP}{self._styled(cell, cell, field)}\n")

    def _line(self, cells: Sequence[str], *, header: bool) -> str:
        """The cells in their columns, cut at the edge of the terminal."""
        room = self._columns
        parts: list[str] = []
        last = len(cells) - 1
        for number, (cell, field, wide) in enumerate(zip(cells, self._view.fields, self._widths, strict=True)):
            text = _padded(cell, field, wide, last=number == last)
            text = text if number == last else f"{text}{GAP}"
            if room is not None:
                text = _cut(text, room)
                room -= cell_len(text)
            parts.append(self._bold(text) if header else self._styled(text, cell, field))
        return "".join(parts).rstrip()

    def _bold(self, text: str) -> str:
        return click.style(text, bold=True) if self._coloured else text

    def _styled(self, text: str, cell: str, field: Field) -> str:
        style = field.styles.get(cell) if self._coloured else None
        return click.style(text, fg=style) if style else text


def _padded(cell: str, field: Field, wide: int, *, last: bool) -> str:
    space = " " * (wide - cell_len(cell))
    if field.align == "right":
        return space + cell
    return cell if last else cell + space


def _cut(text: str, room: int) -> str:
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
