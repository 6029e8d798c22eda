"""The formats of output, with rows of any view."""

import io
import json

import pytest
import yaml
from msgspec import Struct

from airy.cli.output import Output
from airy.cli.view import Document, Field, View
from airy.cli.writers import Format, JsonWriter, NdjsonWriter, TableWriter, YamlWriter


class Row(Struct):
    id: str


FIELDS = (Field("ID", "id"), Field("N", "n", align="right"), Field("NAME", "in.name", styles={"x": "red"}))
VIEW = View(name="rows", row=Row, fields=FIELDS, what="rows")
ONE = View(name="row", row=Row, fields=FIELDS, one=True)
ROWS: list[Document] = [
    {"id": "a", "n": 5, "in": {"name": "x"}},
    {"id": "日本", "n": 1234, "in": {"name": "be\x1b[31ml\nl \u202e"}},
    {"id": "", "n": None, "in": None},
]


def table(rows: list[Document], view: View = VIEW, *, columns: int | None = None, coloured: bool = False) -> list[str]:
    out = io.StringIO()
    TableWriter(view, out, columns=columns, coloured=coloured).write(rows)
    return out.getvalue().splitlines()


def test_a_table_aligns_wide_characters_and_escapes_control_characters() -> None:
    assert table(ROWS) == [
        "ID       N  NAME",
        "a        5  x",
        r"日本  1234  be\x1b[31ml\nl \u202e",
        "-        -  -",
    ]


def test_a_table_is_cut_at_the_edge_of_a_terminal_and_coloured_there_only() -> None:
    assert table(ROWS, columns=14) == ["ID       N  N…", "a        5  x", "日本  1234  b…", "-        -  -"]
    assert table(ROWS[:1], columns=14, coloured=True)[1].endswith("\x1b[31mx\x1b[0m")


def test_spare_columns_are_left_out_of_a_narrow_terminal_the_right_ones_first() -> None:
    fields = (
        Field("ID", "id"),
        Field("N", "n", spare=True),
        Field("M", "n", spare=True),
        Field("NAME", lambda row: row["id"] * 9),
    )
    view = View(name="rows", row=Row, fields=fields)

    assert [table(ROWS[:1], view, columns=wide)[0].split() for wide in (19, 18, 16, 15)] == [
        ["ID", "N", "M", "NAME"],
        ["ID", "N", "NAME"],
        ["ID", "N", "NAME"],
        ["ID", "NAME"],
    ]


def test_one_object_is_a_line_for_each_field() -> None:
    assert table(ROWS[:1], ONE) == ["ID    a", "N     5", "NAME  x"]


def test_later_pages_keep_the_columns_of_the_first() -> None:
    out = io.StringIO()
    writer = TableWriter(VIEW, out, columns=None, coloured=False)
    writer.write(ROWS[1:2])
    writer.write(ROWS[:1])

    assert out.getvalue().splitlines()[2] == "a        5  x"


@pytest.mark.parametrize("pages", [[ROWS], [ROWS[:1], ROWS[1:]], [[]]])
def test_every_format_for_programs_holds_the_rows(pages: list[list[Document]]) -> None:
    rows = [row for page in pages for row in page]
    outs = [io.StringIO() for _ in range(3)]
    for writer in (JsonWriter(VIEW, outs[0]), YamlWriter(VIEW, outs[1]), NdjsonWriter(outs[2])):
        for page in pages:
            writer.write(page)
        writer.close()
    in_json, in_yaml, in_lines = (out.getvalue() for out in outs)

    assert json.loads(in_json) == yaml.safe_load(in_yaml) == list(map(json.loads, in_lines.splitlines())) == rows
    assert not any(character in text for character in "\x1b\u202e" for text in (in_json, in_yaml, in_lines))
    assert ("日本" in in_json) is bool(rows)


def test_no_rows_are_said_in_words_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table").rows(VIEW, [])

    assert capsys.readouterr() == ("", "no rows\n")


@pytest.mark.parametrize("form", ["json", "yaml", "ndjson", "table"])
def test_one_object_in_each_format(form: Format, capsys: pytest.CaptureFixture[str]) -> None:
    Output(form).one(ONE, ROWS[0])

    printed = capsys.readouterr().out
    assert printed.endswith("\n")
    assert "a" in printed
