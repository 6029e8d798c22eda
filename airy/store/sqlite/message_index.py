"""The full-text index over messages: its rows, and searches in it.

An FTS5 index without content: it holds words, not texts. A row's number has the number of its conversation in the high
bits, so that a search yields conversations without reading messages, and one conversation is a range. Texts are cut
into words here (`airy.store.search_words`); the tokenizer `ascii` only splits them at the spaces.

`known_words` lists every word that occurred, because FTS5 reads all occurrences of all words with a prefix before it
yields the first; it also holds words of messages that were edited or deleted since.
"""

# ruff: noqa: S608 - only names and numbers of our own are put into SQL; values are bound

from collections.abc import Iterable, Sequence

import apsw
from msgspec import Struct

from airy.errors import Refused
from airy.model.conversation import Message
from airy.model.message_text import message_text
from airy.store.search_words import Phrase, words_of
from airy.store.sqlite.candidates import CandidateLists, Candidates

TABLES = """
CREATE VIRTUAL TABLE message_words USING fts5(words, content='', contentless_delete=1, tokenize='ascii');
CREATE TABLE unindexed_messages(row INTEGER PRIMARY KEY, words TEXT NOT NULL, stored INTEGER NOT NULL);
CREATE TABLE known_words(word TEXT PRIMARY KEY) WITHOUT ROWID;
"""

Row = tuple[object, ...]

MESSAGE_BITS = 32  # of a row number: the number of the message
KNOWN_WORDS_MAX = 50_000  # kept in memory

LISTED_MAX = 70_000  # occurrences of a word; with more, a search looks into one conversation after another
LISTED_WITH_PREFIX_MAX = 200_000  # the same of all words with one prefix, because looking them all up takes longer
COUNTED_MAX = 10_000  # messages of a frequent word, whose conversations are counted
PREFIX_WORDS_MAX = 200  # that begin with one prefix
ALTERNATIVES_MAX = 16  # words that FTS5 searches for as alternatives

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
_NTH_OCCURRENCE = f"SELECT rowid {_MATCHES} ORDER BY rowid LIMIT 1 OFFSET ?"

_LAST_CHARACTER = "\U0010ffff"
_LAST_ROW = (1 << 63) - 1

_CONVERSATIONS = f"""SELECT count(DISTINCT n)
FROM (SELECT rowid >> {MESSAGE_BITS} AS n {_MATCHES} AND rowid <= ? LIMIT ?)"""

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
    """`query` in the syntax of FTS5. `found`: the conversations; None: there are too many to list them."""

    query: str
    found: Candidates | None
    phrases: tuple[str, ...]  # the query looks for any of them


class Searcher:
    """Searches for one query of the store."""

    def __init__(self, connection: apsw.Connection, lists: CandidateLists) -> None:
        self._connection = connection
        self._lists = lists

    def search(self, wanted: Phrase) -> MessageSearch:
        """Raises `Refused` for a prefix of too many words."""
        *first, last = wanted.words
        endings = _with_prefix(self._connection, last) if wanted.prefix else [last]
        phrases = tuple(" ".join([*first, word]) for word in endings)
        query = _any(phrases)
        if not endings:
            return MessageSearch("", self._lists.empty(), ())
        if not first and len(endings) == 1:
            return MessageSearch(query, self._read(query, LISTED_MAX), phrases)  # reading it shows how frequent it is
        rare_end = self._is_rare(endings, LISTED_MAX if len(endings) == 1 else LISTED_WITH_PREFIX_MAX)
        if not (rare_end or any(self._is_rare([word], LISTED_MAX) for word in first)):
            return MessageSearch(query, None, phrases)
        # FTS5 reads all words with the prefix before it yields the first; many alternatives it reads more slowly.
        prefixed = rare_end and len(endings) > ALTERNATIVES_MAX
        return MessageSearch(query, self._read(f'"{" ".join(wanted.words)}" *' if prefixed else query), phrases)

    def _read(self, query: str, rows_max: int | None = None) -> Candidates | None:
        return self._lists.read("message_words", query, shift=MESSAGE_BITS, rows_max=rows_max)

    def _is_rare(self, words: Sequence[str], occurrences_max: int) -> bool:
        """Whether `words` together occur at most that often."""
        query = _any(words)
        if query in self._lists.frequent:
            return False
        left = occurrences_max
        for word in words:
            left -= self._connection.execute(_OCCURRENCES, (f'"{word}"', left + 1)).get
            if left < 0:
                self._lists.frequent.add(query)
                return False
        return True

    def counted(self, search: MessageSearch) -> int:
        """A lower bound of the conversations that match, for a search that is not listed."""
        last_row, first_word = _LAST_ROW, search.phrases[0].partition(" ")
        if first_word[2]:  # of a phrase, few may be found among many of its words
            found = self._connection.execute(_NTH_OCCURRENCE, (f'"{first_word[0]}"', COUNTED_MAX - 1)).get
            last_row = last_row if found is None else found
        rows_max = max(1, COUNTED_MAX // len(search.phrases))
        number: int = self._connection.execute(_CONVERSATIONS, (search.query, last_row, rows_max)).get
        return number


def _any(phrases: Iterable[str]) -> str:
    return " OR ".join(f'"{phrase}"' for phrase in phrases)


def _with_prefix(connection: apsw.Connection, prefix: str) -> list[str]:
    found = [
        word for (word,) in connection.execute(_WITH_PREFIX, (prefix, prefix + _LAST_CHARACTER, PREFIX_WORDS_MAX + 1))
    ]
    if len(found) > PREFIX_WORDS_MAX:
        reason = f"more than {PREFIX_WORDS_MAX} words of messages begin with {prefix!r}: write more of the word"
        raise Refused(reason, field="filters")
    return found
