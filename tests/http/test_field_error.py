"""Reasons of invalid fields, in words of JSON."""

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct

from airy.http.field_error import FieldError, field_error


class Suggestion(Struct):
    content: int


@pytest.mark.parametrize(
    ("value", "kind", "reason"),
    [
        ("x", int, "must be a whole number, not text"),
        ("x", int | None, "must be a whole number, not text"),
        (1.5, int | None, "must be a whole number, not a decimal number"),
        (None, str, "must be text, not null"),
        (True, list[int], "must be an array, not true or false"),
        ([], dict[str, int], "must be an object, not an array"),
        (1, Annotated[int, Meta(ge=60)] | None, "must be at least 60"),
        (9, Annotated[int, Meta(le=8)], "must be at most 8"),
        ({}, Annotated[dict[str, int], Meta(min_length=1)], "must have at least 1 entries"),
        ("long", Annotated[str, Meta(max_length=3)], "must have at most 3 characters"),
    ],
)
def test_the_reason_names_kinds_of_json_and_bounds(value: object, kind: Any, reason: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(value, kind)
    assert field_error("x", str(refused.value)) == FieldError("x", reason)


def test_a_missing_field_within_is_named_by_its_own_path() -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert({}, Suggestion)
    assert field_error("suggestions[...]", str(refused.value)) == FieldError("suggestions[...].content", "is required")


def test_what_is_not_known_stays_as_it_is() -> None:
    assert field_error("x", "Invalid enum value 'nope'").message == "invalid enum value 'nope'"
