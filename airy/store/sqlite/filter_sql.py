"""Compiles filter conditions to SQL over `conversations AS c`, with the indexes that can answer them.

A condition becomes an expression over the columns of `conversations_activity` and the lists that full-text indexes
found; only metadata that is frequent needs the row itself. A condition that every match fulfils and that has an index
also becomes a driver: a selection from that index, used instead of a scan when it has few rows.
"""

# ruff: noqa: S608 - only names and placeholders of our own are put into SQL; values are bound

from collections.abc import Callable
from typing import Any

import apsw
import msgspec
from msgspec import Raw, Struct

from airy.errors import Refused
from airy.store.filter_fields import DISPLAY_NAME, METADATA
from airy.store.filters import Clauses, Condition, MessagePhrase, NumberRange, Term
from airy.store.search_text import (
    any_word_matches,
    literal_text,
    matches,
    pattern_matches,
    plain_substring,
)
from airy.store.sqlite import candidates, conversation_counts, conversation_index, message_index
from airy.store.sqlite.candidates import CandidateLists, Candidates, FrequentQueries
from airy.store.sqlite.id_encoding import decode_id, decode_id_sql, encode_client_id
from airy.store.sqlite.schema import TOPIC_INDEX
from airy.topics import CHANNELS

Sql = tuple[str, tuple[object, ...]]

TAGGED_MAX = 50_000  # conversations with one tag that are counted
_TAGGED = "SELECT count(*) FROM (SELECT 1 FROM conversation_tags WHERE tag = ? LIMIT ?)"
_UNLISTED = "SELECT count(*) FROM conversations AS c INDEXED BY conversations_unlisted WHERE c.visible <> 1 AND "
VALUES_MAX = 1000  # tags or sources that one pattern may match
EVERYTHING: Sql = ("1", ())
NOTHING: Sql = ("c.n < 0", ())  # not a constant: with one, SQLite finds no plan with the index it is told to use

_CHANNELS_INDEX = TOPIC_INDEX[CHANNELS.name]
_COLUMNS = {"created_at": "c.created_at", "unread_count": "c.unread_count", "last_message_at": "c.last_message_at"}


class Driver(Struct, frozen=True):
    """An index that finds a superset of the matches."""

    numbers: Sql  # selects them
    contain: Sql | None = None  # whether `c.n` is one of them, if that can be looked up
    rows: int | None = None  # if it is known


class CompiledFilter(Struct, frozen=True):
    where: str
    bindings: tuple[object, ...]
    drivers: tuple[Driver, ...] = ()
    reads_body: bool = False  # of each conversation examined
    phrases_searched: int = 0  # in the messages of each conversation examined
    total: tuple[int, bool] | None = None  # the number of matches if it is known, and whether it is exact


def compile_filters(condition: Clauses, connection: apsw.Connection, frequent: FrequentQueries) -> CompiledFilter:
    """`connection` is used to find the tags and sources that a pattern matches, and conversations in full-text indexes.

    The result is valid until the next call for the same connection.
    """
    compiler = _Compiler(connection, frequent)
    where, bindings = compiler.expression(condition)
    drivers = tuple(compiler.drivers(condition))
    searched = sum(len(search.phrases) for search in compiler.searches.values() if search.found is None)
    return CompiledFilter(where, bindings, drivers, compiler.reads_body, searched, compiler.total(condition))


class _Compiler:
    def __init__(self, connection: apsw.Connection, frequent: FrequentQueries) -> None:
        self._connection = connection
        self._lists = CandidateLists(connection, frequent)
        self._messages = message_index.Searcher(connection, self._lists)
        self._marks: dict[Term, conversation_index.MarkSearch | None] = {}
        self.searches: dict[MessagePhrase, message_index.MessageSearch] = {}
        self.reads_body = False

    def expression(self, condition: Condition) -> Sql:
        match condition:
            case Clauses():
                return self._clauses(condition)
            case NumberRange():
                return _number_range(condition)
            case MessagePhrase():
                return _said(self._search(condition))
            case Term(field="display_name"):
                return _words_match("c.name", condition)
            case Term(field=field) if field.startswith(METADATA):
                return self._metadata(condition)
            case Term():
                return self._keyword(condition)

    def _metadata(self, term: Term) -> Sql:
        where, bindings = _words_match("metadata_words(c.body, ?)", term)
        bindings = (term.field.removeprefix(METADATA), *bindings)
        search = self._marked(term)
        if search is None:
            self.reads_body = True
            return where, bindings
        if search.exact:
            return search.found.contain
        return _join(" AND ", [search.found.contain, (where, bindings)])

    def _marked(self, term: Term) -> conversation_index.MarkSearch | None:
        if term not in self._marks:
            self._marks[term] = conversation_index.search(self._connection, self._lists, term)
        return self._marks[term]

    def _clauses(self, clauses: Clauses) -> Sql:
        if not clauses.must and not clauses.should:
            return NOTHING
        wanted = [self.expression(each) for each in clauses.must] or [self._any(clauses.should)]
        unwanted = [self.expression(each) for each in clauses.must_not]
        return _join(" AND ", [*wanted, *((f"NOT {where}", bindings) for where, bindings in unwanted)])

    def _any(self, conditions: tuple[Condition, ...]) -> Sql:
        """Any of them; those with a single value become one list per field."""
        listed: dict[str, list[str]] = {}
        rest: list[Sql] = []
        for condition in conditions:
            value = _exact(condition)
            if isinstance(condition, Term) and value is not None:
                listed.setdefault(condition.field, []).append(value)
            else:
                rest.append(self.expression(condition))
        return _join(" OR ", [*(_in_list(field, values) for field, values in listed.items()), *rest])

    def _keyword(self, term: Term) -> Sql:
        value = _exact(term)
        if value is not None:
            return _in_list(term.field, [value])
        match term.field:
            case "id" | "channel_id" if term.text == "*":
                return EVERYTHING
            case "tag_ids":
                return self._tagged(term)
            case "source":
                return _in_list("source", self._sources(term))
            case "state":
                return "(c.state IS NOT NULL AND pattern_matches(?, c.state))", (term.text,)  # `NOT NULL` would be null
            case field:
                column = "c.id" if field == "id" else "c.channel"
                return f"pattern_matches(?, {decode_id_sql(column)})", (term.text,)

    def _tagged(self, term: Term) -> Sql:
        return _in_list(
            "tag_ids",
            self._matching(
                """WITH RECURSIVE each(value) AS (
                 SELECT min(tag) FROM conversation_tags
                 UNION ALL
                 SELECT (SELECT min(tag) FROM conversation_tags WHERE tag > value) FROM each WHERE value IS NOT NULL
               ) SELECT value FROM each WHERE value IS NOT NULL""",
                (),
                term,
            ),
        )

    def _sources(self, term: Term) -> list[str]:
        return self._matching("SELECT DISTINCT source FROM entities WHERE topic = ?", (_CHANNELS_INDEX,), term)

    def _matching(self, sql: str, bindings: tuple[int, ...], term: Term) -> list[str]:
        found = []
        values: list[Any] = self._connection.execute(sql, bindings).fetchall()
        for (value,) in values:
            text = decode_id(value)
            if matches(term.pattern, text.lower()):
                found.append(text)
        if len(found) > VALUES_MAX:
            raise Refused(f"{term.field}:{term.text} matches more than {VALUES_MAX} values", field="filters")
        return found

    def _search(self, phrase: MessagePhrase) -> message_index.MessageSearch:
        found = self.searches.get(phrase)
        if found is None:
            found = self.searches[phrase] = self._messages.search(phrase.phrase)
        return found

    def total(self, condition: Condition) -> tuple[int, bool] | None:
        """The number of matches, and whether it is exact, if an index or the kept numbers have it."""
        sole = _sole(condition)
        if isinstance(sole, MessagePhrase):
            search = self._search(sole)
            return (
                (self._messages.counted(search), False) if search.found is None else (self._listed(search.found), True)
            )
        if isinstance(sole, Term) and sole.field == "tag_ids" and (tag := _exact(sole)) is not None:
            return self._tagged_total(tag)
        if isinstance(sole, Term) and sole.field.startswith(METADATA):
            marked = self._marked(sole)
            return (self._listed(marked.found), True) if marked is not None and marked.exact else None
        if not _is_counted(sole):
            return None
        total = conversation_counts.total(self._connection, *self.expression(sole))
        return None if total is None else (total, True)

    def _listed(self, found: Candidates) -> int:
        where, bindings = found.contain
        unlisted: int = self._connection.execute(_UNLISTED + where, bindings).get
        return found.conversations - unlisted

    def _tagged_total(self, tag: str) -> tuple[int, bool]:
        found: int = self._connection.execute(_TAGGED, (*_bindings("tag_ids", [tag]), TAGGED_MAX)).get
        where, bindings = _in_list("tag_ids", [tag])
        unlisted: int = self._connection.execute(_UNLISTED + where, bindings).get
        return max(0, found - unlisted), found < TAGGED_MAX

    # --- drivers

    def drivers(self, condition: Condition) -> list[Driver]:
        match condition:
            case Clauses():
                found = [driver for each in condition.required for driver in self.drivers(each)]
                if not condition.must and len(condition.should) > 1:
                    found += _driver_of_any(condition.should)
                return found
            case _:
                return self._drivers_of_one(condition)

    def _drivers_of_one(self, condition: Condition) -> list[Driver]:
        match condition:
            case NumberRange(field="unread_count", low=low) if low is not None and low > 0:
                return [Driver(("SELECT n FROM conversations WHERE has_unread = 1", ()))]
            case NumberRange(field="created_at"):
                where, bindings = _number_range(condition)
                return [Driver((f"SELECT n FROM conversations AS c WHERE {where}", bindings))]
            case MessagePhrase():
                return _driver_of_list(self._search(condition).found)
            case Term(field=field) if field == DISPLAY_NAME or field.startswith(METADATA):
                search = self._marked(condition)
                return _driver_of_list(None if search is None else search.found)
            case Term() if (value := _exact(condition)) is not None:
                return _driver(condition.field, [value])
            case _:
                return []


def _driver_of_list(found: Candidates | None) -> list[Driver]:
    return [] if found is None else [Driver(found.numbers, found.contain, found.conversations)]


def _sole(condition: Condition) -> Condition:
    """What a filter comes down to: the only condition that is required, if nothing is prohibited."""
    while isinstance(condition, Clauses) and len(condition.required) == 1 and not condition.must_not:
        condition = condition.required[0]
    return condition


def _is_counted(condition: Condition) -> bool:
    """Whether it depends on channel, state and the presence of unread messages alone."""
    match condition:
        case Clauses(must=must, should=should, must_not=must_not):
            return all(map(_is_counted, (*(must or should), *must_not)))
        case NumberRange(field="unread_count", low=low, high=high):
            return (low is None or low <= 1) and (high is None or high <= 0)
        case Term(field=field, text=text):
            return field in {"channel_id", "source", "state"} or (field == "id" and text == "*")
        case _:
            return False


def _said(search: message_index.MessageSearch) -> Sql:
    return (message_index.IN_CONVERSATION, (search.query,)) if search.found is None else search.found.contain


def _driver_of_any(conditions: tuple[Condition, ...]) -> list[Driver]:
    """For `field:(a OR b)`."""
    fields = {condition.field if isinstance(condition, Term) else "" for condition in conditions}
    values = [value for condition in conditions if (value := _exact(condition)) is not None]
    return _driver(fields.pop(), values) if len(fields) == 1 and len(values) == len(conditions) else []


def _driver(field: str, values: list[str]) -> list[Driver]:
    bindings = _bindings(field, values)
    match field:
        case "id" | "channel_id" | "state":
            column = "channel" if field == "channel_id" else field
            return [Driver((f"SELECT n FROM conversations WHERE {column} IN ({_placeholders(values)})", bindings))]
        case "tag_ids":
            numbers = f"SELECT conversation FROM conversation_tags WHERE tag IN ({_placeholders(values)})", bindings
            return [Driver(numbers, _in_list(field, values))]
        case "source":
            where, sources = _channels_of(values)
            return [Driver((f"SELECT n FROM conversations WHERE channel IN {where}", sources))]
        case _:
            return []


def _exact(condition: Condition) -> str | None:
    """The only value a keyword field is compared with, or None."""
    if not isinstance(condition, Term) or condition.field == "display_name" or condition.field.startswith(METADATA):
        return None
    return literal_text(condition.pattern)


def _in_list(field: str, values: list[str]) -> Sql:
    if not values:
        return NOTHING
    match field:
        case "tag_ids":
            inner = f"SELECT 1 FROM conversation_tags WHERE tag IN ({_placeholders(values)}) AND conversation = c.n"
            return f"EXISTS ({inner})", _bindings(field, values)
        case "source":
            where, bindings = _channels_of(values)
            return f"c.channel IN {where}", bindings
        case "state":
            return f"(c.state IS NOT NULL AND c.state IN ({_placeholders(values)}))", _bindings(field, values)
        case _:
            return f"c.{'id' if field == 'id' else 'channel'} IN ({_placeholders(values)})", _bindings(field, values)


def _channels_of(sources: list[str]) -> Sql:
    inner = f"SELECT id FROM entities WHERE topic = {_CHANNELS_INDEX} AND lower(source) IN ({_placeholders(sources)})"
    return f"({inner})", tuple(source.lower() for source in sources)


def _placeholders(values: list[str]) -> str:
    return ", ".join("?" * len(values))


def _bindings(field: str, values: list[str]) -> tuple[object, ...]:
    return tuple(values if field == "state" else map(encode_client_id, values))


def _number_range(number_range: NumberRange) -> Sql:
    column = _COLUMNS[number_range.field]
    parts: list[Sql] = []
    if number_range.low is not None:
        parts.append((f"{column} >= ?", (number_range.low,)))
    if number_range.high is not None:
        parts.append((f"{column} <= ?", (number_range.high,)))
    return _join(" AND ", parts) if parts else EVERYTHING


def _words_match(column: str, term: Term) -> Sql:
    """A word, phrase or pattern in a column that holds a result of `normalized_words`."""
    if term.pattern == ((),):
        return NOTHING
    if term.text == "*":
        return f"{column} <> ''", ()
    substring = plain_substring(term.pattern)
    return _pattern_among_words(column, term) if substring is None else (f"instr({column}, ?) > 0", (substring,))


def _pattern_among_words(column: str, term: Term) -> Sql:
    function = "pattern_matches" if " " in term.text else "any_word_matches"
    value = f"trim({column})" if " " in term.text else column
    return f"{function}(?, {value})", (term.text,)


def _join(word: str, parts: list[Sql]) -> Sql:
    """As a balanced tree: SQLite bounds the depth of an expression, not its length."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    left, right = _join(word, parts[:half]), _join(word, parts[half:])
    return f"({left[0]}{word}{right[0]})", (*left[1], *right[1])


# --- functions for SQL


class _Metadata(Struct):
    metadata: dict[str, Raw] = {}


_decode_metadata = msgspec.json.Decoder(_Metadata).decode


def metadata_words(body: bytes, name: str) -> str:
    """The words of one metadata value; none without the value."""
    value = _decode_metadata(body).metadata.get(name)
    return "" if value is None else conversation_index.value_words(value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "metadata_words": metadata_words,
    "any_word_matches": any_word_matches,
    "pattern_matches": pattern_matches,
}


def install(connection: apsw.Connection) -> None:
    connection.execute(candidates.TABLE)
    for name, function in FUNCTIONS.items():
        connection.create_scalar_function(name, function, 2, deterministic=True)
