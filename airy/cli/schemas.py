"""The JSON Schema of each view: what `--json` prints, and for a list each line of `--output ndjson`. Pure.

`make pages` writes them to docs/schemas, and a test compares them.
"""

import json
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import msgspec

from airy.cli import views
from airy.cli.view import View

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def all_views() -> list[View]:
    """Every view, by name. Raises `ValueError` for a name of two views."""
    found: dict[str, View] = {}
    for view in _views():
        if found.setdefault(view.name, view) is not view:
            raise ValueError(f"two views are called {view.name}")
    return [found[name] for name in sorted(found)]


def _views() -> Iterator[View]:
    for module in pkgutil.iter_modules(views.__path__, f"{views.__name__}."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, View):
                yield value


def schema(view: View) -> dict[str, Any]:
    """A list is an array whose items are `#/$defs/…`; clients of a newer instance may find more fields."""
    (row,), definitions = msgspec.json.schema_components([view.row], ref_template="#/$defs/{name}")
    whole = row if view.one else {"type": "array", "items": row}
    document = {"$schema": DIALECT, "title": view.name, **whole, "$defs": definitions}
    opened: dict[str, Any] = _open(document)
    return opened


def _open(value: Any) -> Any:
    """`value` without `additionalProperties: false`: fields are added in later versions."""
    match value:
        case dict():
            return {
                name: _open(inner) for name, inner in value.items() if (name, inner) != ("additionalProperties", False)
            }
        case list():
            return [_open(inner) for inner in value]
        case _:
            return value


def text(view: View) -> str:
    return json.dumps(schema(view), indent=2) + "\n"
