"""Builds the nested configuration type `components.<type>.<name>` from the table of components."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, defstruct

from airy.components import Component


def attribute(key: str) -> str:
    """The attribute of a key: `source-api` is `source_api`."""
    return key.replace("-", "_")


def key_of(name: str) -> str:
    return name.replace("_", "-")


def components_type(table: Iterable[Component]) -> type[Struct]:
    """A frozen struct with a field per type, which has a field per component with a section."""
    sections: dict[str, list[tuple[str, type, Struct]]] = {}
    for component in table:
        if component.section is not None:
            field = (attribute(component.name), component.section, component.section())
            sections.setdefault(attribute(component.type), []).append(field)
    groups = [(name, *_group(name, fields)) for name, fields in sections.items()]
    return defstruct("Components", groups, frozen=True, kw_only=True, rename=key_of)


def _group(name: str, fields: list[tuple[str, type, Struct]]) -> tuple[type[Struct], Any]:
    group = defstruct(f"{name.capitalize()}Components", fields, frozen=True, kw_only=True, rename=key_of)
    return group, group()
