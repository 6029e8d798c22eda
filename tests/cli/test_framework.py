"""Every command prints through the framework: the four outputs, and stdout written in one place."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import rich_click as click

import airy
from airy.cli.writers import Format
from tests.kit import command_tree

WITHOUT_OUTPUT = {  # first words of a command: why it has no `--output`
    "up": "runs until it is stopped; prints log lines or is the console",
    "run": "runs until it is stopped; prints log lines",
    "demo": "is airy up --demo",
    "console": "is a screen",
    "sim": "runs until it is stopped; prints where it listens",
    "completion": "prints a script that a shell reads",
    "version": "prints one line that packaging tools read",
}
WRITERS_TO_STDOUT = {  # below airy/: what they write
    "cli/output.py": "the framework",
    "cli/__init__.py": "flushes it, and discards it when the reader has left",
    "cli/completion.py": WITHOUT_OUTPUT["completion"],
    "cli/version.py": WITHOUT_OUTPUT["version"],
    "cli/listen.py": "flushes it",
    "app/log_transfer/commands.py": "an archive, which is no text",
    "sim/run.py": WITHOUT_OUTPUT["sim"],
    "shutdown.py": "shows the cursor again before it leaves at once",
    "tui/live.py": "the plain lines of airy up",
}
STDOUT_IS_READ_ONLY = {"isatty", "encoding"}
PACKAGE = Path(airy.__file__).parent


def test_every_command_has_the_four_outputs() -> None:
    lacking = {
        path[0]
        for path, command in command_tree.commands()
        if not isinstance(command, click.Group) and not _has_output(command)
    }

    assert lacking == {*WITHOUT_OUTPUT}


def _has_output(command: click.Command) -> bool:
    return any(
        "--output" in option.opts
        and isinstance(option.type, click.Choice)
        and [*option.type.choices] == [*get_args(Format)]
        for option in command.params
    )


def test_stdout_is_written_in_one_place() -> None:
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if any(_writes(path))}

    assert found == {*WRITERS_TO_STDOUT}


def _writes(path: Path) -> Iterator[ast.AST]:
    """Calls of `print` and `click.echo` without `err=True`, and uses of `sys.stdout` that are more than questions."""
    tree = ast.parse(path.read_text())
    questions = {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in STDOUT_IS_READ_ONLY
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print") | ast.Attribute(value=ast.Name(id="click"), attr="echo" | "secho")):
                if not any(keyword.arg == "err" for keyword in node.keywords):
                    yield node
            case ast.Attribute(value=ast.Name(id="sys"), attr="stdout") if node not in questions:
                yield node
