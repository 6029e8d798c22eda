"""Generates the block of a component in the configuration reference (airy.yaml) from its section."""

from typing import Any

import msgspec
import msgspec.inspect as shapes
import yaml

from airy.components import Component
from airy.secret import Secret

COMMENT_COLUMN = 36


def section_block(component: Component, *, indent: int) -> list[str]:
    """The lines of a section with every key, its default and its description. Uncommenting a key changes nothing."""
    assert component.section is not None
    shape = shapes.type_info(component.section)
    assert isinstance(shape, shapes.StructType)
    summary = f"{component.summary[:1].upper()}{component.summary[1:]}."
    optional = any(field.name == "enabled" and field.default is False for field in shape.fields)
    outer, inner = " " * indent, " " * (indent + 2)
    lines = [f"{outer}# {summary}", f"{outer}{component.name}:"]
    if optional:
        lines.append(f"{inner}enabled: false")
    return [*lines, *(_line(field, inner) for field in shape.fields if not (optional and field.name == "enabled"))]


def _line(field: shapes.Field, indent: str) -> str:
    text = f"{indent}# {field.encode_name}: {_yaml(_default(field))}"
    comment = "; ".join(filter(None, ("required" if _extra(field).get("required") else "", _description(field))))
    return f"{text:<{COMMENT_COLUMN - 1}} # {comment}" if comment else text


def _default(field: shapes.Field) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _yaml(value: Any) -> str:
    if isinstance(value, Secret):
        value = value.reveal()
    if isinstance(value, tuple):
        value = list(value)
    if value == "":
        return '""'
    return str(yaml.safe_dump(value, default_flow_style=True, width=1_000)).removesuffix("\n").removesuffix("\n...")


def _extra(field: shapes.Field) -> dict[str, Any]:
    return (field.type.extra or {}) if isinstance(field.type, shapes.Metadata) else {}


def _description(field: shapes.Field) -> str:
    if not isinstance(field.type, shapes.Metadata):
        return ""
    return str((field.type.extra_json_schema or {}).get("description", ""))
