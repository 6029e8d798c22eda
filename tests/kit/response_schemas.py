"""Validates response bodies against the schemas of the OpenAPI document."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


def validated(schema: type[T], document: object) -> T:
    """`document` as `schema`. Raises `msgspec.ValidationError` on missing or unknown keys and on other types."""
    return msgspec.convert(document, schema, strict=True)
