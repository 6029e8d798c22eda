"""The form of a kind of channel on the command line: what is missing is asked for on a terminal."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from airy.cli.view import Document

if TYPE_CHECKING:
    from airy.api_client import ApiClient
    from airy.tui.console.channels.rows import ConnectKind, FormField


async def kinds(client: "ApiClient") -> "Sequence[ConnectKind]":
    """The kinds that the instance can connect, from its OpenAPI document."""
    from airy.tui.console.channels.rows import connect_kinds

    return connect_kinds(await client.get("/schema/openapi.json", dict[str, Any]))


def kind_row(kind: "ConnectKind") -> Document:
    fields = [
        {"name": each.name, "required": each.required, "secret": each.secret, "choices": list(each.choices)}
        for each in kind.fields
    ]
    return {"name": kind.name, "title": kind.title, "fields": fields}


def find(known: "Sequence[ConnectKind]", name: str) -> "ConnectKind":
    """Raises `UsageError` for a kind that the instance does not have."""
    from airy.config_reader import closest

    names = [kind.name for kind in known]
    if name not in names:
        hint = closest(name, names) or f"; there are {', '.join(names) or 'none: no source is enabled'}"
        raise click.UsageError(f"no kind of channel is called {name}{hint}")
    return known[names.index(name)]


def complete(kind: "ConnectKind", given: Mapping[str, str]) -> dict[str, str]:
    """`given` with the required fields that are missing, asked for on a terminal. Raises `UsageError`."""
    from airy.tui.console.channels.rows import problem

    unknown = sorted(given.keys() - {field.name for field in kind.fields})
    if unknown:
        raise click.UsageError(
            f"{kind.name} has no {', '.join(unknown)}; it has {', '.join(field.name for field in kind.fields)}"
        )
    filled = dict(given)
    if sys.stdin.isatty():
        filled |= {each.name: _ask(each) for each in kind.fields if each.required and not given.get(each.name)}
    if wrong := problem(kind.fields, filled):
        raise click.UsageError(f"{kind.name}: {wrong}; pass --set NAME=VALUE")
    return filled


def _ask(field: "FormField") -> str:
    choices = click.Choice(field.choices) if field.choices else None
    answer: str = click.prompt(field.name, hide_input=field.secret, type=choices, err=True)
    return answer
