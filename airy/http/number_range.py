"""Numbers of a JSON body: those that not every JSON reader holds are refused, with the path of the field."""

import json
import math

from airy.http.field_error import FieldError
from airy.http.problems import Problem


class NumberOutOfRange(ValueError):
    """Raised while a body is parsed, where the path is not known yet."""


class _Number(str):
    """A number as it is written in the body."""

    __slots__ = ()


def finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise NumberOutOfRange(f"the number {text[:32]} is out of range")
    return number


def int64(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**63:
        raise NumberOutOfRange(f"the number {text[:32]} is out of range: whole numbers have at most 64 bits")
    return number


def number_problem(body: str, error: NumberOutOfRange) -> Problem:
    """The 400 for a body in which parsing stopped at `error`; the field is found by parsing it again."""
    message = str(error)
    try:
        path = _path(json.loads(body, parse_float=_Number, parse_int=_Number), "")
    except json.JSONDecodeError:  # further on; the number was first
        path = None
    return Problem(400, message, fields=[FieldError(path, message)] if path else ())


def _path(value: object, path: str) -> str | None:
    """Of the first number that is out of range, as a path into the body."""
    if isinstance(value, _Number):
        return path if _is_out_of_range(value) else None
    below: list[tuple[str, object]] = []
    if isinstance(value, dict):
        below = [(f"{path}.{key}" if path else key, item) for key, item in value.items()]
    elif isinstance(value, list):
        below = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    found = (_path(item, item_path) for item_path, item in below)
    return next((item_path for item_path in found if item_path is not None), None)


def _is_out_of_range(number: _Number) -> bool:
    try:
        finite_float(number) if set(number) & set(".eE") else int64(number)
    except NumberOutOfRange:
        return True
    return False
