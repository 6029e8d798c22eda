"""The index over names and metadata of conversations: it finds the few that can match a pattern.

An FTS5 index whose words are marks: the trigrams of the name, the keys of the metadata, and each word of a value with
its key. What it finds is a superset of the matches, so the filter is still evaluated for each conversation found.
"""

# ruff: noqa: S608 - only names and numbers of our own are put into SQL; values are bound

from collections.abc import Iterator, Mapping
from zlib import crc32

import apsw
import msgspec
from msgspec import Raw

from airy.store.filters import DISPLAY_NAME, METADATA, Term
from airy.store.search_text import literal_text, normalized_words, plain_substring

TABLES = """
CREATE VIRTUAL TABLE conversation_marks USING fts5(marks, content='', contentless_delete=1, detail=none,
  tokenize='ascii');
CREATE TABLE unindexed_conversations(n INTEGER PRIMARY KEY, marks TEXT NOT NULL);
"""

Row = tuple[object, ...]

MARKS_MAX = 1_000  # per conversation; with more, the conversation is found by every search
COMMON_MIN = 20_000  # with more conversations found, the index is not used
SEARCHED_MARKS_MAX = 5  # fewer find more candidates, more take longer to combine

PUT = "INSERT OR REPLACE INTO unindexed_conversations VALUES(?, ?)"
COUNT = "SELECT count(*) FROM unindexed_conversations"
INDEX = (
    """
INSERT OR REPLACE INTO conversation_marks(rowid, marks) SELECT n, marks FROM unindexed_conversations ORDER BY n""",
    "DELETE FROM unindexed_conversations",
)

MATCHING = "SELECT rowid FROM conversation_marks WHERE conversation_marks MATCH ?"
"""The numbers of conversations that can match."""

_FOUND = f"SELECT count(*) FROM ({MATCHING} LIMIT ?)"
_EVERY_SEARCH = "z"


def unindexed_row(conversation: int, name: str, metadata: Mapping[str, Raw]) -> Row:
    """The row of `unindexed_conversations`; `name` is a result of `normalized_words`."""
    marks = set(_trigrams(name))
    for key, value in metadata.items():
        marks.add(_key_mark(key))
        marks.update(_word_mark(key, word) for word in value_words(value).split())
        if len(marks) > MARKS_MAX:
            return conversation, _EVERY_SEARCH
    return conversation, " ".join(sorted(marks)) if len(marks) <= MARKS_MAX else _EVERY_SEARCH


def value_words(value: Raw) -> str:
    """The words of a metadata value: of a string without its quotes, of any other value as JSON text."""
    text = bytes(value)
    return normalized_words(msgspec.json.decode(text, type=str) if text.startswith(b'"') else text.decode())


def candidates(connection: apsw.Connection, term: Term) -> str | None:
    """The query for `MATCHING`; None if the index does not narrow the search down."""
    marks = sorted(set(_marks_of(term)))[:SEARCHED_MARKS_MAX]
    if not marks:
        return None
    query = f"({' AND '.join(marks)}) OR {_EVERY_SEARCH}"
    found: int = connection.execute(_FOUND, (query, COMMON_MIN + 1)).get
    return None if found > COMMON_MIN else query


def _marks_of(term: Term) -> Iterator[str]:
    """Marks that every conversation has for which the term holds."""
    if term.field == DISPLAY_NAME:
        whole = plain_substring(term.pattern)
        for text in [whole] if whole is not None else _literals(term):
            yield from _trigrams(text)
    elif term.field.startswith(METADATA):
        key = term.field.removeprefix(METADATA)
        words = (literal_text(term.pattern) or "").split()
        yield from (_word_mark(key, word) for word in words) if words else [_key_mark(key)]


def _literals(term: Term) -> Iterator[str]:
    """The runs of characters between the wildcards of a pattern."""
    for piece in term.pattern:
        yield from "".join("\0" if character is None else character for character in piece).split("\0")


def _trigrams(text: str) -> Iterator[str]:
    return (f"n{text[start : start + 3].encode().hex()}" for start in range(len(text) - 2))


def _key_mark(key: str) -> str:
    return f"k{crc32(key.encode()):08x}"


def _word_mark(key: str, word: str) -> str:
    return f"m{crc32(f'{key} {word}'.encode()):08x}"
