"""The full-text index over messages: its rows, and searches in it.

An FTS5 index without content: it holds words, not texts. A row's number has the number of its conversation in the high
bits, so that a search yields conversations without reading messages, and one conversation is a range. Texts are cut
into words here (`airy.store.search_words`); the tokenizer `ascii` only splits them at the spaces.

`known_words` lists every word that occurred, because FTS5 reads all occurrences of all words with a prefix before it
yields the first; it also holds words of messages that were edited or deleted since.
"""

# ruff: noqa: S608 - only names and numbers of our own are put into SQL; values are bound

from collections.abc import Iterable
from typing import Literal

import apsw
from msgspec import Struct

from airy.errors import Refused
from airy.model.conversation import Message
from airy.model.message_text import message_text
from airy.store.search_words import Phrase, words_of

TABLES = """
CREATE VIRTUAL TABLE message_words USING fts5(words, content='', contentless_delete=1, tokenize='ascii');
CREATE TABLE unindexed_messages(row INTEGER PRIMARY KEY, words TEXT NOT NULL, stored INTEGER NOT NULL);
CREATE TABLE known_words(word TEXT PRIMARY KEY) WITHOUT ROWID;
"""

Row = tuple[object, ...]

MESSAGE_BITS = 32  # of a row number: the number of the message
KNOWN_WORDS_MAX = 50_000  # kept in memory

COMMON_MIN = 50_000  # with more occurrences, a search looks into one conversation after another
COUNTED_MAX = 10_000  # messages of a common word, whose conversations are counted
PREFIX_WORDS_MAX = 200  # that begin with one prefix

PUT = "INSERT OR REPLACE INTO unindexed_messages VALUES(?, ?, ?)"
COUNT = "SELECT count(*) FROM unindexed_messages"
_WAITING_WORDS = "SELECT words FROM unindexed_messages"
# In the order of row numbers: FTS5 flushes its memory when they fall.
_INSERT = """
INSERT INTO message_words(rowid, words) SELECT row, words FROM unindexed_messages WHERE NOT stored AND words <> ''
ORDER BY row"""
_REPLACE = """
INSERT OR REPLACE INTO message_words(rowid, words) SELECT row, words FROM unindexed_messages
WHERE stored AND words <> '' ORDER BY row"""
_DELETE = """
DELETE FROM message_words WHERE rowid IN (SELECT row FROM unindexed_messages WHERE stored AND words = '')"""
_CLEAR = "DELETE FROM unindexed_messages"
_PUT_WORD = "INSERT OR IGNORE INTO known_words VALUES(?)"
_WITH_PREFIX = "SELECT word FROM known_words WHERE word >= ? AND word < ? ORDER BY word LIMIT ?"
_MATCHES = "FROM message_words WHERE message_words MATCH ?"
_OCCURRENCES = f"SELECT count(*) FROM (SELECT 1 {_MATCHES} LIMIT ?)"

_LAST_CHARACTER = "\U0010ffff"

MATCHING = f"SELECT rowid >> {MESSAGE_BITS} {_MATCHES}"
"""The numbers of the conversations that match, one for each message."""

_CONVERSATIONS = f"SELECT count(DISTINCT n) FROM (SELECT rowid >> {MESSAGE_BITS} AS n {_MATCHES} LIMIT ?)"
_UNLISTED = f"""SELECT count(*) FROM conversations INDEXED BY conversations_unlisted
  WHERE visible <> 1 AND n IN ({MATCHING})"""

IN_CONVERSATION = f"""EXISTS (SELECT 1 {_MATCHES}
  AND rowid BETWEEN c.n << {MESSAGE_BITS} AND (c.n + 1 << {MESSAGE_BITS}) - 1)"""


def unindexed_row(conversation: int, message_n: int, message: Message, *, stored: bool) -> Row:
    """The row of `unindexed_messages`. `stored`: the message was written before, so it may be in the index."""
    return conversation << MESSAGE_BITS | message_n, " ".join(words_of(message_text(message))), stored


class UnindexedMessages:
    """Moves messages from `unindexed_messages` to the index."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._known: set[str] = set()  # words whose rows are committed

    def index(self) -> set[str]:
        """Within a transaction. Returns the words for `committed`."""
        execute = self._connection.execute
        words = {word for (text,) in execute(_WAITING_WORDS) for word in text.split(" ")} - self._known
        words.discard("")
        self._connection.executemany(_PUT_WORD, [(word,) for word in sorted(words)])
        for sql in (_DELETE, _REPLACE, _INSERT, _CLEAR):
            execute(sql)
        return words

    def committed(self, words: set[str]) -> None:
        if len(self._known) > KNOWN_WORDS_MAX:
            self._known.clear()
        self._known |= words


class MessageSearch(Struct, frozen=True):
    """`query` in the syntax of FTS5. rare: few messages have it; common: too many to read; none: no message has it."""

    query: str
    frequency: Literal["none", "rare", "common"]


def search(connection: apsw.Connection, wanted: Phrase) -> MessageSearch:
    """Raises `Refused` for a prefix of too many words."""
    *first, last = wanted.words
    endings = _with_prefix(connection, last) if wanted.prefix else [last]
    if not endings:
        return MessageSearch("", "none")
    parts = [*([word] for word in first), endings]
    common = all(_is_common(connection, part) for part in parts)
    query = _any(" ".join([*first, word]) for word in endings)
    return MessageSearch(query, "common" if common else "rare")


def total(connection: apsw.Connection, found: MessageSearch) -> tuple[int, bool]:
    """The number of listed conversations that match, and whether it is exact; else it is a lower bound."""
    match found.frequency:
        case "none":
            return 0, True
        case "rare":
            matching: int = connection.execute(_CONVERSATIONS, (found.query, -1)).get
            unlisted: int = connection.execute(_UNLISTED, (found.query,)).get
            return matching - unlisted, True
        case "common":
            return connection.execute(_CONVERSATIONS, (found.query, COUNTED_MAX)).get, False


def _any(phrases: Iterable[str]) -> str:
    return " OR ".join(f'"{phrase}"' for phrase in phrases)


def _is_common(connection: apsw.Connection, words: list[str]) -> bool:
    occurrences: int = connection.execute(_OCCURRENCES, (_any(words), COMMON_MIN + 1)).get
    return occurrences > COMMON_MIN


def _with_prefix(connection: apsw.Connection, prefix: str) -> list[str]:
    found = [
        word for (word,) in connection.execute(_WITH_PREFIX, (prefix, prefix + _LAST_CHARACTER, PREFIX_WORDS_MAX + 1))
    ]
    if len(found) > PREFIX_WORDS_MAX:
        reason = f"more than {PREFIX_WORDS_MAX} words of messages begin with {prefix!r}: write more of the word"
        raise Refused(reason, field="filters")
    return found
