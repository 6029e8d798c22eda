"""Parses the filter language of `conversations.list` into a tree of conditions, independent of SQL.

It is the classic Lucene syntax: default field `id`, default operator OR, and clauses that are required, optional or
prohibited rather than boolean algebra (`a OR b AND c` requires b and c; a filter of prohibitions alone matches
nothing). luqum parses; its tree is flattened into the list of clauses that the syntax means.

Differences to the original: braces exclude their bound, lower bounds may be open, numbers have 64 bits,
`metadata.state` is compared as a whole, text typed into the inbox's search box is taken literally, and unsupported
syntax is refused by name, with its offset, instead of matching nothing. `message` searches the texts of messages.
"""

import re
from collections.abc import Iterator

import luqum.tree as lucene
from msgspec import Struct

from airy.errors import Refused
from airy.store import filter_text, search_words
from airy.store.filter_fields import ALIASES, DISPLAY_NAME, KNOWN, MESSAGE, METADATA, NUMBERS, WRITTEN
from airy.store.filter_text import DEPTH_MAX, InvalidFilter
from airy.store.search_text import Pattern, escape, parse_pattern

TEXT_CHARS_MAX = 65_536
CLAUSES_MAX = 1024
MESSAGE_TERMS_MAX = 32
INT64 = 1 << 63


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


class MessagePhrase(Struct, frozen=True):
    """A phrase that occurs in at least one message of the conversation."""

    phrase: search_words.Phrase


class Clauses(Struct, frozen=True):
    """All of `must` (or one of `should`, if `must` is empty) and none of `must_not`. Without both: no match."""

    must: tuple["Condition", ...] = ()
    should: tuple["Condition", ...] = ()
    must_not: tuple["Condition", ...] = ()

    @property
    def required(self) -> tuple["Condition", ...]:
        """The conditions that hold for every match."""
        return self.must or (self.should if len(self.should) == 1 else ())


Condition = Term | NumberRange | MessagePhrase | Clauses


def parse(text: str) -> Clauses:
    """Raises `Refused` with field `filters` and the offset of the problem in `text`."""
    if not text.strip():
        raise Refused("filters are empty; omit them to list everything", field="filters")
    if len(text) > TEXT_CHARS_MAX:
        raise Refused(f"filters are longer than {TEXT_CHARS_MAX} characters", field="filters")
    tree = filter_text.read(text)
    try:
        return Clauses(must=(_ClauseReader().clauses(tree.item, "id", DEPTH_MAX),))
    except InvalidFilter as error:
        at = None if error.at is None else tree.original_offset(error.at)
        raise filter_text.refused(error.message, text, at) from error


def searches_texts(condition: Condition) -> bool:
    """Whether a part of it is about the text of messages, names or metadata."""
    match condition:
        case Clauses(must=must, should=should, must_not=must_not):
            return any(map(searches_texts, (*must, *should, *must_not)))
        case Term(field=field):
            return field == DISPLAY_NAME or field.startswith(METADATA)
        case _:
            return isinstance(condition, MessagePhrase)


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
        self._message_terms = 0

    def clauses(self, item: lucene.Item, field: str, levels: int) -> Clauses:
        """Lucene's rule: AND requires both neighbours, + requires, - and NOT prohibit, the rest is optional."""
        if levels == 0:
            raise InvalidFilter(f"filters are nested more than {DEPTH_MAX} levels deep", item.pos)
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
                raise InvalidFilter(f"filters have more than {CLAUSES_MAX} clauses", bare.pos)
        chosen = {sign: tuple(condition for its, condition in found if its == sign) for sign in ("+", "", "-")}
        return Clauses(must=chosen["+"], should=chosen[""], must_not=chosen["-"])

    def _condition(self, node: lucene.Item, field: str, levels: int) -> Condition:
        match node:
            case lucene.Boost():
                return self._condition(node.expr, field, levels)
            case lucene.SearchField():
                return self._condition(node.expr, _field(node), levels - 1)
            case lucene.BaseGroup():
                return self.clauses(node.expr, field, levels - 1)
            case lucene.Prohibit() if field in NUMBERS:  # `created_at:-5`
                return _number_range(node, field)
            case lucene.Not() | lucene.Prohibit() | lucene.Plus():  # `id:-a`, or a sign after a sign
                return self.clauses(node, field, levels - 1)
            case _:
                return self._leaf(node, field)

    def _leaf(self, node: lucene.Item, field: str) -> Condition:
        if field in NUMBERS:
            return _number_range(node, field)
        if field != MESSAGE:
            return _term(node, field)
        self._message_terms += 1
        if self._message_terms > MESSAGE_TERMS_MAX:
            raise InvalidFilter(f"filters have more than {MESSAGE_TERMS_MAX} terms over messages", node.pos)
        return _message_phrase(node)


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


def _field(node: lucene.SearchField) -> str:
    name = _unescaped(node.name)
    name = ALIASES.get(name, name)
    if name in KNOWN:
        return name
    if name.startswith(METADATA) and name != METADATA:
        return name
    known = ", ".join(sorted(WRITTEN))
    raise InvalidFilter(
        f"unknown field {name[:64]!r} in filters; known fields are {known} and metadata.<key>", node.pos
    )


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _unsupported(node: lucene.Item) -> InvalidFilter:
    name = _UNSUPPORTED.get(type(node), type(node).__name__)
    return InvalidFilter(f"{name} is not supported in filters", node.pos)


def _term(node: lucene.Item, field: str) -> Term:
    match node:
        case lucene.Phrase():
            text = escape(_unescaped(node.value[1:-1]))
        case lucene.Word():
            text = re.sub(r"\\(\s)", r"\1", node.value)
        case _:
            raise _unsupported(node)
    text = " ".join(text.lower().split())
    return Term(field, parse_pattern(text), text)


_MESSAGE_WILDCARDS = re.compile(r"\\.|([*?])", re.DOTALL)


def _message_phrase(node: lucene.Item) -> MessagePhrase:
    match node:
        case lucene.Phrase():
            phrase = search_words.phrase(_unescaped(node.value[1:-1]))
        case lucene.Word():
            wildcards = [found.start() for found in _MESSAGE_WILDCARDS.finditer(node.value) if found[1]]
            prefix = wildcards == [len(node.value) - 1] and node.value != "*" and node.value.endswith("*")
            if wildcards and not prefix:
                place = "at the beginning" if wildcards[0] == 0 else "within a word"
                reason = f"a wildcard {place} is not supported in message; only word* at its end is"
                raise InvalidFilter(reason, node.pos)
            phrase = search_words.phrase(_unescaped(node.value[: -1 if prefix else None]), prefix=prefix)
        case _:
            raise _unsupported(node)
    if not phrase.words:
        raise InvalidFilter("a search in message needs a letter, a digit or a symbol", node.pos)
    if len(phrase.words) > search_words.SEARCHED_WORDS_MAX:
        raise InvalidFilter(f"a phrase has more than {search_words.SEARCHED_WORDS_MAX} words", node.pos)
    return MessagePhrase(phrase)


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
        raise InvalidFilter(f"{field} is compared with whole numbers, not with {text[:64]!r}", node.pos)
    number = -int(text) if negative else int(text)
    if not -INT64 <= number < INT64:
        raise InvalidFilter(f"{field} is compared with 64-bit numbers; {text} is larger", node.pos)
    return number
