"""Values of options that may be long or secret: `@FILE` stands for the content of a file, `@-` for stdin."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import rich_click as click


def text_value(option: str, given: str) -> str:
    """`given`, or what it refers to, without the line break at the end."""
    if not given.startswith("@"):
        return given
    if given == "@-":
        return sys.stdin.read().rstrip("\n")
    try:
        return Path(given[1:]).read_text("utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.UsageError(f"{option}: {given[1:]} cannot be read: {reason}") from error


def json_value(option: str, given: str) -> Any:
    try:
        return json.loads(text_value(option, given))
    except ValueError as error:
        raise click.UsageError(f"{option} is not JSON: {error}") from error


def assignments(option: str, given: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE` of an option that is repeated; an empty value counts."""
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise click.UsageError(f"{option} takes NAME=VALUE, not {each}")
        found[name] = text_value(f"{option} {name}", value)
    return found
