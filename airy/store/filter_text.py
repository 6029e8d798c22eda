"""Reads the text of a filter into a tree of luqum, and finds the place in the text that a node came from.

Text that the inbox inserts unescaped is escaped first, and operators written as symbols become words.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

import luqum.exceptions
import luqum.tree as lucene
from luqum.thread import parse as parse_lucene

from airy.errors import Refused
from airy.store.filter_fields import METADATA, WRITTEN

EXCERPT_CHARS_MAX = 40
DEPTH_MAX = 32

_OPERATOR_SYMBOLS = re.compile(r"""\\. | "(?:[^\\"]|\\.)*" | && | \|\| | (?<![^\s(:+\-!])!""", re.VERBOSE | re.DOTALL)
_OPERATOR_WORDS = {"&&": " AND ", "||": " OR ", "!": " NOT "}
_SEARCH_BOX = re.compile(r"\bdisplay_name:\*(.*?)\*(?= AND | OR |\s*\)|\s*$)", re.DOTALL)
_SEARCH_BOX_LOOSE = re.compile(r"\bdisplay_name:\*(.*?)\*(?= AND |\s*$)", re.DOTALL)
_NOT_WORD, _ESCAPED = re.compile(r"(\W)"), r"\\\1"
_FILTER_SYNTAX = re.compile(  # text written in the filter language rather than typed into the search box
    r"[\\*]|(?:^|\s)(?:AND|OR|NOT|&&|\|\|)(?:\s|$)"
    rf"|\b(?:{'|'.join(sorted(WRITTEN))}|{re.escape(METADATA)}[^\s:]+):"
)
_POSITION = re.compile(r" at position (\d+)")
_AT_THE_END = "unexpected end of expression"
_UNEXPECTED = re.compile(r"(?:unexpected\s+|Illegal character )'(.*)' at position", re.DOTALL)


class InvalidFilter(Exception):
    """A problem with a node; `at` is its offset in the text that was parsed, None: at the end."""

    def __init__(self, message: str, at: int | None) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


class _Edit(NamedTuple):
    start: int  # in the text after the substitution
    length: int
    original_start: int
    original_length: int


class FilterTree(NamedTuple):
    """`edits` are those of each substitution, in the order in which they were made."""

    item: lucene.Item
    edits: tuple[list[_Edit], ...]

    def original_offset(self, offset: int) -> int:
        """Where the character at `offset` of the parsed text is in the text that was given."""
        return _original_offset(offset, self.edits)


def refused(message: str, text: str, offset: int | None) -> Refused:
    """`offset` in `text`; None: its end."""
    at = len(text) if offset is None else min(offset, len(text))
    excerpt = text[at : at + EXCERPT_CHARS_MAX]
    if at + EXCERPT_CHARS_MAX < len(text):
        excerpt += "…"
    place = f"at offset {at}: {excerpt!r}" if excerpt else f"at offset {at}, the end"
    return Refused(f"{message}, {place}", field="filters", offset=at)


def read(text: str) -> FilterTree:
    """Raises `Refused` for text that is not in the language, with the offset."""
    boxed, boxes = _substituted(text, _SEARCH_BOX, _escaped_unless_syntax)
    try:
        return _parse(boxed, boxes)
    except InvalidFilter as error:
        loose, loose_boxes = _substituted(boxed, _SEARCH_BOX_LOOSE, _escaped_box)
        if loose != boxed:
            try:
                return _parse(loose, boxes, loose_boxes)
            except InvalidFilter:
                pass
        raise refused(f"filters cannot be read: {error.message}", text, error.at) from error


def _parse(text: str, *edits: list[_Edit]) -> FilterTree:
    """Raises `InvalidFilter` with an offset in the text that was given."""
    spelled, operators = _substituted(text, _OPERATOR_SYMBOLS, _operator_word)
    try:
        return FilterTree(parse_lucene(spelled), (*edits, operators))
    except RecursionError as error:
        raise InvalidFilter(f"they are nested more than {DEPTH_MAX} levels deep", 0) from error
    except luqum.exceptions.ParseError as error:
        said = str(error)
        position = _POSITION.search(said)
        if position is None or _AT_THE_END in said:
            raise InvalidFilter("an operand, a quote or a parenthesis is missing", None) from error
        found = _UNEXPECTED.search(said)
        word = found[1].split(maxsplit=1)[0][:EXCERPT_CHARS_MAX] if found and found[1].strip() else ""
        reason = f"unexpected {word!r}" if word else "an operator without an operand"
        raise InvalidFilter(reason, _original_offset(int(position[1]), (*edits, operators))) from error


def _original_offset(offset: int, substitutions: tuple[list[_Edit], ...]) -> int:
    for edits in reversed(substitutions):
        before = bisect_right([edit.start for edit in edits], offset) - 1
        if before >= 0:
            edit = edits[before]
            inside = offset - edit.start
            if inside < edit.length:
                offset = edit.original_start + min(inside, max(0, edit.original_length - 1))
            else:
                offset = edit.original_start + edit.original_length + inside - edit.length
    return offset


def _substituted(
    text: str, pattern: re.Pattern[str], becomes: Callable[[re.Match[str]], str]
) -> tuple[str, list[_Edit]]:
    parts: list[str] = []
    edits: list[_Edit] = []
    end = length = 0
    for found in pattern.finditer(text):
        new = becomes(found)
        length += found.start() - end
        if new != found[0]:
            edits.append(_Edit(length, len(new), found.start(), found.end() - found.start()))
        parts += [text[end : found.start()], new]
        length += len(new)
        end = found.end()
    return "".join([*parts, text[end:]]), edits


def _operator_word(symbol: re.Match[str]) -> str:
    return _OPERATOR_WORDS.get(symbol[0], symbol[0])


def _escaped_unless_syntax(box: re.Match[str]) -> str:
    """The inbox inserts typed text unescaped between two stars; escape it, so that its words stay together."""
    return box[0] if _FILTER_SYNTAX.search(box[1]) else _escaped_box(box)


def _escaped_box(box: re.Match[str]) -> str:
    typed = " ".join(box[1].split())
    return f"display_name:*{_NOT_WORD.sub(_ESCAPED, typed)}*" if typed else "display_name:*"
