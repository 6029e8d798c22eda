"""An invalid field of a request, as error responses name it."""

import re
from collections.abc import Mapping

from msgspec import Struct

KINDS: Mapping[str, str] = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
GIVEN = {"float": "a decimal number"}  # where a whole number was expected
BOUNDS: Mapping[str, str] = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_KIND = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_BOUND = re.compile(r"Expected `([^`]+)` (of length )?(>=|<=|>|<) (\S+)")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")


class FieldError(Struct, frozen=True, omit_defaults=True):
    """An invalid field, as a dotted path into the body, the reason, and the offset in its text if that is known."""

    field: str
    message: str
    offset: int | None = None


def field_error(path: str, message: str) -> FieldError:
    """Of a message of msgspec's, which names types of Python: in words of JSON, as the other reasons are."""
    if found := _MISSING.fullmatch(message):
        return FieldError(f"{path}.{found[1]}", "is required")
    if found := _KIND.fullmatch(message):
        return FieldError(path, f"must be {_kinds(found[1])}, not {GIVEN.get(found[2]) or _kinds(found[2])}")
    if found := _BOUND.fullmatch(message):
        unit = "" if found[2] is None else " characters" if "str" in found[1] else " entries"
        return FieldError(path, f"must {'have' if unit else 'be'} {BOUNDS[found[3]]} {found[4]}{unit}")
    return FieldError(path, message[:1].lower() + message[1:])


def _kinds(text: str) -> str:
    names = [name for name in text.split(" | ") if name != "null"] or ["null"]
    return " or ".join(KINDS.get(name, name) for name in names)
