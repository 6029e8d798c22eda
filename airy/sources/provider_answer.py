"""Reads what a provider says in an answer: its numbers in whatever JSON type, and its words for people. Pure.

The same number arrives as 190, "190" and 190.0, depending on the endpoint and on what stands in between. Words are kept
even where no code says what they mean, because they are often all an operator has.
"""

import re

from airy.http_client import Response
from airy.sources import payload

WORDS_CHARACTERS_MAX = 500
DIGITS_MAX = 12
MEMBERS = ("message", "error_user_msg", "description", "detail", "error_description", "error_message", "error", "title")

_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_WHITE = re.compile(r"\s+")


def number(thing: object) -> int | None:
    """A whole number, written as one, as text, or as 190.0."""
    if isinstance(thing, bool):
        return None
    if isinstance(thing, int):
        return thing
    if isinstance(thing, float):
        return int(thing) if thing.is_integer() else None
    if isinstance(thing, str):
        digits = thing.strip().removesuffix(".0")
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= DIGITS_MAX else None
    return None


def seconds(thing: object) -> float | None:
    """A delay that is not negative."""
    whole = number(thing)
    found = whole if whole is not None else thing
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) and found >= 0 else None


def is_true(thing: object) -> bool:
    return thing is True or (isinstance(thing, str) and thing.strip().lower() == "true") or number(thing) == 1


def said(text: str, answer: Response) -> str:
    """`text`, and the words of the answer after it."""
    found = words(answer)
    return f"{text}; it said: {found}" if found else text


def words(answer: Response) -> str:
    """What the body says: its message, the title of a page, or the text itself; at most `WORDS_CHARACTERS_MAX`."""
    found = payload.object_of(answer.body)
    if found is not None:
        return _words_of(found)
    text = answer.body[: 8 * WORDS_CHARACTERS_MAX].decode("utf-8", "replace").strip()
    if text.startswith(("{", "[")):
        return ""  # the beginning of a document
    if text.startswith("<"):
        title = _TITLE.search(text)
        text = title[1] if title else ""
    return _line(text)


def _words_of(found: dict[str, object], *, levels: int = 2) -> str:
    for name in MEMBERS:
        part = found.get(name)
        if isinstance(part, str) and part.strip():
            return _line(part)
        if isinstance(part, dict) and levels and (inner := _words_of(part, levels=levels - 1)):
            return inner
    return ""


def _line(text: str) -> str:
    printable = "".join(each if each.isprintable() else " " for each in text)
    return _WHITE.sub(" ", printable).strip()[:WORDS_CHARACTERS_MAX]
