"""The index over names and metadata of conversations: it finds the few that can match a pattern.

An FTS5 index whose words are marks: the trigrams of the name, the keys of the metadata that have words, and each word
of a value with its key. For one key, or one word with its key, it finds the matches. For anything else it finds a
superset of them, so the filter is still evaluated for each conversation found.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b

import apsw
import msgspec
from msgspec import Raw, Struct

from airy.store.filter_fields import DISPLAY_NAME, METADATA
from airy.store.filters import Term
from airy.store.search_text import literal_text, normalized_words, plain_substring
from airy.store.sqlite.candidates import CandidateLists, Candidates

TABLES = """
CREATE VIRTUAL TABLE conversation_marks USING fts5(marks, content='', contentless_delete=1, detail=none,
  tokenize='ascii');
CREATE TABLE unindexed_conversations(n INTEGER PRIMARY KEY, marks TEXT NOT NULL);
"""

Row = tuple[object, ...]

MARKS_VERSION = 2  # raised with every change of the marks, so that stores are rebuilt
MARKS_MAX = 1_000  # per conversation; with more, the conversation is found by every search
LISTED_MAX = 30_000  # conversations with a mark of metadata; with more, the index is not used
LISTED_BY_NAME_MAX = 5_000  # the same by name: names are compared quickly without the index
SEARCHED_MARKS_MAX = 5  # fewer find more candidates, more take longer to combine

PUT = "INSERT OR REPLACE INTO unindexed_conversations VALUES(?, ?)"
COUNT = "SELECT count(*) FROM unindexed_conversations"
INDEX = (
    """
INSERT OR REPLACE INTO conversation_marks(rowid, marks) SELECT n, marks FROM unindexed_conversations ORDER BY n""",
    "DELETE FROM unindexed_conversations",
)

_FOUND = "SELECT 1 FROM conversation_marks WHERE conversation_marks MATCH ? LIMIT 1"
_EVERY_SEARCH = "z"


class MarkSearch(Struct, frozen=True):
    """exact: the filter holds for all that were found."""

    found: Candidates
    exact: bool


def unindexed_row(conversation: int, name: str, metadata: Mapping[str, Raw]) -> Row:
    """The row of `unindexed_conversations`; `name` is a result of `normalized_words`."""
    marks = set(_trigrams(name))
    for key, value in metadata.items():
        words = value_words(value).split()
        if words:
            marks.add(_key_mark(key))
            marks.update(_word_mark(key, word) for word in words)
        if len(marks) > MARKS_MAX:
            return conversation, _EVERY_SEARCH
    return conversation, " ".join(sorted(marks)) if len(marks) <= MARKS_MAX else _EVERY_SEARCH


def value_words(value: Raw) -> str:
    """The words of a metadata value: of a string without its quotes, of any other value as JSON text."""
    text = bytes(value)
    return normalized_words(msgspec.json.decode(text, type=str) if text.startswith(b'"') else text.decode())


def search(connection: apsw.Connection, lists: CandidateLists, term: Term) -> MarkSearch | None:
    """None if the index does not narrow the search down."""
    by_name = term.field == DISPLAY_NAME
    marks = sorted(set(_name_marks(term) if by_name else _metadata_marks(term)))
    if not marks:
        return None
    unmarked = connection.execute(_FOUND, (_EVERY_SEARCH,)).get is not None
    query = " AND ".join(marks[:SEARCHED_MARKS_MAX])
    if unmarked:
        query = f"({query}) OR {_EVERY_SEARCH}"
    rows_max = LISTED_BY_NAME_MAX if by_name else LISTED_MAX
    found = lists.read("conversation_marks", query, shift=0, rows_max=rows_max)
    exact = not by_name and not unmarked and len(marks) == 1 and _is_one_mark(term)
    return None if found is None else MarkSearch(found, exact)


def _name_marks(term: Term) -> Iterator[str]:
    """Marks that every conversation has for which the term holds."""
    whole = plain_substring(term.pattern)
    for text in [whole] if whole is not None else _literals(term):
        yield from _trigrams(text)


def _metadata_marks(term: Term) -> Iterator[str]:
    """The same for metadata."""
    key = term.field.removeprefix(METADATA)
    words = (literal_text(term.pattern) or "").split()
    yield from (_word_mark(key, word) for word in words) if words else [_key_mark(key)]


def _is_one_mark(term: Term) -> bool:
    """Whether a term over metadata holds if and only if its one mark is there."""
    return term.text == "*" or len((literal_text(term.pattern) or "").split()) == 1


def _literals(term: Term) -> Iterator[str]:
    """The runs of characters between the wildcards of a pattern."""
    for piece in term.pattern:
        yield from "".join("\0" if character is None else character for character in piece).split("\0")


def _trigrams(text: str) -> Iterator[str]:
    return (f"n{text[start : start + 3].encode().hex()}" for start in range(len(text) - 2))


def _key_mark(key: str) -> str:
    return f"k{_hash(key)}"


def _word_mark(key: str, word: str) -> str:
    return f"m{_hash(f'{key} {word}')}"


def _hash(text: str) -> str:
    """64 bits, so that two marks do not collide."""
    return blake2b(text.encode(), digest_size=8).hexdigest()
