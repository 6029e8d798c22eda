"""Holds an answer against the shape the API's description promises."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


def held(shape: type[T], document: object) -> T:
    """`document` as `shape`: every key there, none besides, every value of its type."""
    return msgspec.convert(document, shape, strict=True)
