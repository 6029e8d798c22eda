"""Parses the filter language of `conversations.list` into a tree of conditions, independent of SQL.

It is the classic Lucene syntax: default field `id`, default operator OR, and clauses that are required, optional or
prohibited rather than boolean algebra (`a OR b AND c` requires b and c; a filter of prohibitions alone matches
nothing). luqum parses; its tree is flattened into the list of clauses that the syntax means.

Differences to the original: braces exclude their bound, lower bounds may be open, numbers have 64 bits,
`metadata.state` is compared as a whole, text typed into the inbox's search box is taken literally, and unsupported
syntax is refused by name instead of matching nothing.
"""

import re
from collections.abc import Iterator

import luqum.exceptions
import luqum.tree as lucene
from luqum.thread import parse as parse_lucene
from msgspec import Struct

from airy.errors import Refused
from airy.store.search_text import Pattern, escape, parse_pattern

TEXT_CHARS_MAX = 65_536
CLAUSES_MAX = 1024
DEPTH_MAX = 32
INT64 = 1 << 63

KEYWORDS = frozenset({"id", "channel_id", "source", "tag_ids", "state"})
NUMBERS = frozenset({"unread_count", "created_at", "last_message_at"})
METADATA = "metadata."
_ALIASES = {"*": "id", "metadata.state": "state", "metadata.unread_count": "unread_count"}


class Term(Struct, frozen=True):
    """A word, phrase or pattern in a field. `text` is the pattern as written, in lower case, escapes kept."""

    field: str
    pattern: Pattern
    text: str


class NumberRange(Struct, frozen=True):
    """A number between two inclusive bounds; None is open."""

    field: str
    low: int | None
    high: int | None


class Clauses(Struct, frozen=True):
    """All of `must` (or one of `should`, if `must` is empty) and none of `must_not`. Without both: no match."""

    must: tuple["Condition", ...] = ()
    should: tuple["Condition", ...] = ()
    must_not: tuple["Condition", ...] = ()

    @property
    def required(self) -> tuple["Condition", ...]:
        """The conditions that hold for every match."""
        return self.must or (self.should if len(self.should) == 1 else ())


Condition = Term | NumberRange | Clauses


def parse(text: str) -> Clauses:
    """Raises `Refused` with field `filters`."""
    if not text.strip():
        raise _refused("filters are empty; omit them to list everything")
    if len(text) > TEXT_CHARS_MAX:
        raise _refused(f"filters are longer than {TEXT_CHARS_MAX} characters")
    reader = _ClauseReader()
    return Clauses(must=(reader.clauses(_tree(_escape_search_box(text)), "id", DEPTH_MAX),))


def _refused(message: str) -> Refused:
    return Refused(message, field="filters")


# --- preprocessing of the text

_OPERATOR_SYMBOLS = re.compile(r"""\\. | "(?:[^\\"]|\\.)*" | && | \|\| | (?<![^\s(:+\-!])!""", re.VERBOSE | re.DOTALL)
_OPERATOR_WORDS = {"&&": " AND ", "||": " OR ", "!": " NOT "}
_SEARCH_BOX = re.compile(r"\bdisplay_name:\*(.*?)\*(?= AND | OR |\s*\)|\s*$)", re.DOTALL)
_SEARCH_BOX_LOOSE = re.compile(r"\bdisplay_name:\*(.*?)\*(?= AND |\s*$)", re.DOTALL)
_NOT_WORD, _ESCAPED = re.compile(r"(\W)"), r"\\\1"
_FILTER_SYNTAX = re.compile(  # text written in the filter language rather than typed into the search box
    r"[\\*]|(?:^|\s)(?:AND|OR|NOT|&&|\|\|)(?:\s|$)"
    r"|\b(?:id|channel_id|source|display_name|tag_ids|created_at|unread_count|last_message_at|metadata\.[^\s:]+):"
)


def _escape_search_box(text: str) -> str:
    """The inbox inserts typed text unescaped between two stars; escape it, so that its words stay together."""
    return _SEARCH_BOX.sub(lambda box: box[0] if _FILTER_SYNTAX.search(box[1]) else _escaped_box(box), text)


def _escaped_box(box: re.Match[str]) -> str:
    typed = " ".join(box[1].split())
    return f"display_name:*{_NOT_WORD.sub(_ESCAPED, typed)}*" if typed else "display_name:*"


def _tree(text: str) -> lucene.Item:
    try:
        return _parse(text)
    except luqum.exceptions.ParseError as error:
        typed_operators = _SEARCH_BOX_LOOSE.sub(_escaped_box, text)
        if typed_operators != text:
            try:
                return _parse(typed_operators)
            except luqum.exceptions.ParseError:
                pass
        raise _refused(f"filters cannot be read: {error}") from error


def _parse(text: str) -> lucene.Item:
    try:
        return parse_lucene(_OPERATOR_SYMBOLS.sub(lambda symbol: _OPERATOR_WORDS.get(symbol[0], symbol[0]), text))
    except RecursionError as error:
        raise _refused(f"filters are nested more than {DEPTH_MAX} levels deep") from error


# --- the tree

_OPERATIONS = {lucene.AndOperation: "AND", lucene.OrOperation: "OR", lucene.UnknownOperation: ""}


def _flat(item: lucene.Item) -> Iterator[tuple[str, lucene.Item]]:
    """The clauses in the order written, each with the operator before it."""
    stack: list[tuple[str, lucene.Item]] = [("", item)]
    while stack:
        word, node = stack.pop()
        operation = _OPERATIONS.get(type(node))
        if operation is None:
            yield word, node
            continue
        first, *rest = node.children
        stack.extend((operation, child) for child in reversed(rest))
        stack.append((word, first))


class _ClauseReader:
    def __init__(self) -> None:
        self._clauses = 0

    def clauses(self, item: lucene.Item, field: str, levels: int) -> Clauses:
        """Lucene's rule: AND requires both neighbours, + requires, - and NOT prohibit, the rest is optional."""
        if levels == 0:
            raise _refused(f"filters are nested more than {DEPTH_MAX} levels deep")
        found: list[tuple[str, Condition]] = []
        for word, node in _flat(item):
            sign, bare = _signed(node)
            if word == "AND" and found and found[-1][0] != "-":
                found[-1] = ("+", found[-1][1])
            if word == "AND" and sign != "-":
                sign = "+"
            found.append((sign, self._condition(bare, field, levels)))
            self._clauses += 1
            if self._clauses > CLAUSES_MAX:
                raise _refused(f"filters have more than {CLAUSES_MAX} clauses")
        chosen = {sign: tuple(condition for its, condition in found if its == sign) for sign in ("+", "", "-")}
        return Clauses(must=chosen["+"], should=chosen[""], must_not=chosen["-"])

    def _condition(self, node: lucene.Item, field: str, levels: int) -> Condition:
        match node:
            case lucene.Boost():
                return self._condition(node.expr, field, levels)
            case lucene.SearchField():
                return self._condition(node.expr, _field(node.name), levels - 1)
            case lucene.BaseGroup():
                return self.clauses(node.expr, field, levels - 1)
            case lucene.Prohibit() if field in NUMBERS:  # `created_at:-5`
                return _number_range(node, field)
            case lucene.Not() | lucene.Prohibit() | lucene.Plus():  # `id:-a`, or a sign after a sign
                return self.clauses(node, field, levels - 1)
            case _:
                return _number_range(node, field) if field in NUMBERS else _term(node, field)


_UNSUPPORTED = {
    lucene.Fuzzy: "fuzzy matching (~)",
    lucene.Proximity: "a phrase with slop (~)",
    lucene.Regex: "a regular expression",
    lucene.Range: "a range over text",
    lucene.From: "a range over text",
    lucene.To: "a range over text",
}


def _signed(node: lucene.Item) -> tuple[str, lucene.Item]:
    if isinstance(node, lucene.Plus):
        return "+", node.a
    if isinstance(node, lucene.Not | lucene.Prohibit):
        return "-", node.a
    return "", node


def _field(name: str) -> str:
    name = re.sub(r"\\(.)", r"\1", name)
    name = _ALIASES.get(name, name)
    if name in KEYWORDS or name in NUMBERS or name == "display_name":
        return name
    if name.startswith(METADATA) and name != METADATA:
        return name
    known = ", ".join(sorted({*KEYWORDS, *NUMBERS, "display_name"} - {"state"}))
    raise _refused(f"unknown field {name[:64]!r} in filters; known fields are {known} and metadata.<key>")


def _unsupported(node: lucene.Item) -> Refused:
    name = _UNSUPPORTED.get(type(node), type(node).__name__)
    return _refused(f"{name} is not supported in filters: {str(node).strip()[:64]!r}")


def _term(node: lucene.Item, field: str) -> Term:
    match node:
        case lucene.Phrase():
            text = escape(re.sub(r"\\(.)", r"\1", node.value[1:-1], flags=re.DOTALL))
        case lucene.Word():
            text = re.sub(r"\\(\s)", r"\1", node.value)
        case _:
            raise _unsupported(node)
    text = " ".join(text.lower().split())
    return Term(field, parse_pattern(text), text)


def _number_range(node: lucene.Item, field: str) -> Condition:
    low: int | None
    high: int | None
    match node:
        case lucene.Range():
            low, high = _bound(node.low, field), _bound(node.high, field)
            low_in, high_in = node.include_low, node.include_high
        case lucene.From():
            low, low_in, high, high_in = _bound(node.a, field), node.include, None, True
        case lucene.To():
            low, low_in, high, high_in = None, True, _bound(node.a, field), node.include
        case lucene.Word() | lucene.Phrase() | lucene.Prohibit():
            low = high = _bound(node, field)
            low_in = high_in = True
        case _:
            raise _unsupported(node)
    low = low + 1 if low is not None and not low_in else low
    high = high - 1 if high is not None and not high_in else high
    if (low is not None and low >= INT64) or (high is not None and high < -INT64):
        return Clauses()
    return NumberRange(field, low, high)


def _bound(node: lucene.Item, field: str) -> int | None:
    return None if isinstance(node, lucene.Word) and node.value == "*" else _number(node, field)


def _number(node: lucene.Item, field: str) -> int:
    negative = isinstance(node, lucene.Prohibit)
    text = (node.a if negative else node).value.strip('"').replace("\\", "")
    if not re.fullmatch(r"-?[0-9]{1,19}", text):
        raise _refused(f"{field} is compared with whole numbers, not with {text[:64]!r}")
    number = -int(text) if negative else int(text)
    if not -INT64 <= number < INT64:
        raise _refused(f"{field} is compared with 64-bit numbers; {text} is larger")
    return number
