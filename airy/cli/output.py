"""`--output`, and printing: every command prints rows of a `View` through `Output`."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, TextIO, get_args

import rich_click as click

from airy.cli.options import Command, in_panel
from airy.cli.view import Document, View
from airy.cli.writers import Format, JsonWriter, NdjsonWriter, RowWriter, TableWriter, YamlWriter, cut

ALL = 0  # of `--limit`
LIMIT = 100
PANEL = "Output"  # of the help


@dataclass(frozen=True)
class Screen:
    """Where text for people goes."""

    columns: int | None  # None off a terminal
    coloured: bool
    unicode: bool

    def cut(self, text: str) -> str:
        """Its lines, up to the edge of the terminal."""
        if self.columns is None:
            return text
        return "\n".join(cut(line, self.columns) for line in text.splitlines())


Text = Callable[[Screen], str]  # a layout of its own for people


@dataclass(frozen=True)
class Output:
    """How a command prints."""

    format: Format
    to_stderr: bool = False  # stdout carries something else

    @contextmanager
    def writer(self, view: View) -> Iterator[RowWriter]:
        """Writes rows of `view`, page by page. After an error the rows written so far are a whole document,
        and without any there is no output.
        """
        writer = _writer(self.format, view, self._stream())
        try:
            yield writer
        except BaseException:
            if writer.written:
                writer.close()
            raise
        writer.close()

    def rows(self, view: View, rows: Sequence[Document], *, text: Text | None = None) -> None:
        """Print these rows, in the order of the view. `text`: for people, in place of the table."""
        if text is not None and self.format == "table":
            self._print(text)
            return
        ordered = sorted(rows, key=view.order) if view.order else rows
        with self.writer(view) as writer:
            writer.write(ordered)
        if not rows:
            note(f"no {view.what}")

    def one(self, view: View, row: Document, *, text: Text | None = None) -> None:
        """Print this object. `text`: for people, in place of the table."""
        if text is not None and self.format == "table":
            self._print(text)
            return
        with self.writer(view) as writer:
            writer.write([row])

    def _print(self, text: Text) -> None:
        out = self._stream()
        click.echo(text(_screen(out)), file=out)

    def _stream(self) -> TextIO:
        return sys.stderr if self.to_stderr else sys.stdout


def _screen(out: TextIO) -> Screen:
    terminal = out.isatty()
    return Screen(
        columns=shutil.get_terminal_size().columns if terminal else None,
        coloured=terminal and "NO_COLOR" not in os.environ,
        unicode=(out.encoding or "").lower().replace("-", "") == "utf8",
    )


def _writer(form: Format, view: View, out: TextIO) -> RowWriter:
    match form:
        case "json":
            return JsonWriter(view, out)
        case "yaml":
            return YamlWriter(view, out)
        case "ndjson":
            return NdjsonWriter(out)
        case "table":
            screen = _screen(out)
            return TableWriter(view, out, columns=screen.columns, coloured=screen.coloured)


def note(text: str) -> None:
    """A sentence for a person, on stderr: it is no part of the output."""
    click.echo(text, err=True)


def output_options(command: Command) -> Command:
    """`--output` and `--json`; the command gets `output`."""

    @wraps(command)
    def with_output(*arguments: Any, output: Format, **given: Any) -> Any:
        return command(*arguments, output=Output(output), **given)

    json_help = "same as --output json"
    short = click.option("--json", "output", flag_value="json", help=json_help, panel=PANEL)(with_output)
    both = click.option(
        "--output",
        "-o",
        type=click.Choice(get_args(Format)),
        default="table",
        show_default=True,
        envvar="AIRY_OUTPUT",
        help="a table for people, or JSON, YAML, or lines of JSON for programs",
        panel=PANEL,
    )(short)
    return in_panel(both, PANEL)


def limit_option(command: Command) -> Command:
    """`--limit` of a list with pages."""
    return click.option(
        "--limit",
        type=click.IntRange(min=0),
        default=LIMIT,
        show_default=True,
        help="rows to print; 0: all",
        panel=PANEL,
    )(command)


def yes_option(command: Command) -> Command:
    """`--yes` of a command that changes or deletes something for good."""
    return click.option("--yes", is_flag=True, help="do not ask for confirmation")(command)


def confirm(question: str, *, yes: bool) -> None:
    """Ask on the terminal, unless `yes`. Raises `Abort` for a no, and `UsageError` without a terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("stdin is not a terminal: pass --yes")
    click.confirm(question, abort=True, err=True)


def examples(*lines: str) -> str:
    """The epilog of a command with its examples: a command line each. A test parses every one."""
    return "\n\n".join(["Examples:", *(f"$ {line}" for line in lines)])
