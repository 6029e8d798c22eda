"""Every command of the command line, as click knows it."""

import shlex
from collections.abc import Iterator

import rich_click as click

from airy.cli.root import airy

Path = tuple[str, ...]


def commands() -> Iterator[tuple[Path, click.Command]]:
    """All groups and commands, parents first, in the order of the help."""
    context = click.Context(airy, info_name="airy")
    yield from _below(airy, (), context)


def _below(command: click.Command, path: Path, context: click.Context) -> Iterator[tuple[Path, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from _below(inner, (*path, name), context)


def examples(command: click.Command) -> list[list[str]]:
    """The examples of a command, each as arguments, up to a pipe."""
    lines = [line for line in (command.epilog or "").splitlines() if line.startswith("$ ")]
    return [_until_pipe(shlex.split(line.removeprefix("$ "))) for line in lines]


def parse(arguments: list[str]) -> None:
    """Parse a whole command line, without running it. Raises `click.UsageError`."""
    name, *rest = arguments
    command: click.Command = airy
    context = click.Context(airy, info_name=name)
    while isinstance(command, click.Group) and rest:
        inner = command.get_command(context, rest[0])
        if inner is None:
            raise click.UsageError(f"there is no command {rest[0]}")
        command, rest = inner, rest[1:]
    command.make_context(name, rest)


def _until_pipe(words: list[str]) -> list[str]:
    stops = [number for number, word in enumerate(words) if word in {"|", ">", ">>"}]
    return words[: stops[0]] if stops else words
