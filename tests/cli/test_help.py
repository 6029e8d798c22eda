"""Help: golden files, one for each command or group at the root, and examples that can be run."""

import pytest
import rich_click as click

from airy.cli.root import COMMANDS, PANELS
from tests.kit import command_page, command_tree
from tests.kit.command_line import GOLDEN, REWRITING, CommandLine, matches_golden

TREE = dict(command_tree.commands())
EXAMPLES = [example for command in TREE.values() for example in command_tree.examples(command)]


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_help_is_the_golden_file(airy: CommandLine, name: str) -> None:
    paths = [path for path in TREE if path[:1] == (name,)] or [()]

    texts = [airy(*path, "--help").out for path in paths]

    assert matches_golden(f"help-{name or 'airy'}", "".join(texts)), "set AIRY_REWRITE_GOLDEN to write it anew"


@pytest.mark.skipif(REWRITING, reason="golden files are written")
def test_every_golden_file_of_help_is_of_a_command() -> None:
    assert {path.stem.removeprefix("help-") for path in GOLDEN.glob("help-*.txt")} == {"airy", *COMMANDS}


@pytest.mark.parametrize("example", EXAMPLES, ids=" ".join)
def test_an_example_of_the_help_parses(example: list[str]) -> None:
    command_tree.parse(example)


def test_the_page_lists_every_command() -> None:
    assert command_page.PAGE.read_text() == command_page.page(), "run `make pages`"
    assert COMMANDS.keys() - {name for names in PANELS.values() for name in names} == set()


def test_every_command_has_examples() -> None:
    lacking = [path for path, command in TREE.items() if not isinstance(command, click.Group) and not command.epilog]

    assert [" ".join(path) for path in lacking] == []
