"""`make pages` writes the list of commands in docs/cli.md from the commands themselves."""

from pathlib import Path

import rich_click as click

from airy.cli import source_pages
from airy.cli.root import PANELS
from tests.kit.command_tree import commands

PAGE = Path(__file__).parents[2] / "docs/cli.md"
SHORT_CHARS_MAX = 400


def listed() -> str:
    """A table for each panel of `airy --help`; commands in none of them are left out."""
    leaves = [(path, command) for path, command in commands() if not isinstance(command, click.Group)]
    parts = []
    for title, names in PANELS.items():
        rows = [
            f"| `airy {' '.join(path)}` | {command.get_short_help_str(SHORT_CHARS_MAX).replace('|', '/')} |"
            for name in names
            for path, command in leaves
            if path[0] == name
        ]
        parts.append("\n".join([f"### {title}", "", "| command | |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def page() -> str:
    return source_pages.filled(PAGE.read_text(), {"commands": listed()})


def main() -> None:
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
