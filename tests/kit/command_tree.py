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


def parse(command: click.Command, path: Path, arguments: list[str]) -> None:
    """Parse the arguments of `airy PATH…`. Raises `click.UsageError`."""
    prefix = ["airy", *path]
    if arguments[: len(prefix)] != prefix:
        raise click.UsageError(f"the example is not one of {' '.join(prefix)}")
    command.make_context(path[-1] if path else "airy", arguments[len(prefix) :])


def _until_pipe(words: list[str]) -> list[str]:
    stops = [number for number, word in enumerate(words) if word in {"|", ">"}]
    return words[: stops[0]] if stops else words
