"""Conversations that a full-text index found, listed in a temporary table while a query runs.

The index is read once; each statement of the query then looks conversations up in the list. The numbers of all lists of
a query are in one table: the high bits of a key are the number of the list.
"""

import apsw
from msgspec import Struct

TABLE = "CREATE TEMP TABLE IF NOT EXISTS candidates(key INTEGER PRIMARY KEY)"

REMEMBERED_MAX = 10_000  # frequent queries
_LIST_BITS = 40  # of a key: the number of a conversation
_CLEAR = "DELETE FROM temp.candidates"
_LAST = "SELECT max(key) FROM temp.candidates WHERE key >= ?"

Sql = tuple[str, tuple[object, ...]]


class Candidates(Struct, frozen=True):
    """One list. `first_key`: of conversation 0."""

    first_key: int
    conversations: int

    @property
    def numbers(self) -> Sql:
        last_key = self.first_key + (1 << _LIST_BITS) - 1
        return "SELECT key - ? FROM temp.candidates WHERE key BETWEEN ? AND ?", (
            self.first_key,
            self.first_key,
            last_key,
        )

    @property
    def contain(self) -> Sql:
        """Whether `c.n` is in the list."""
        return "? + c.n IN temp.candidates", (self.first_key,)


class FrequentQueries:
    """What was found to match too often to be listed, in memory, so that the next query does not read it again.

    What became rare since is still searched correctly, as something frequent.
    """

    def __init__(self) -> None:
        self._queries: set[str] = set()

    def __contains__(self, query: str) -> bool:
        return query in self._queries

    def add(self, query: str) -> None:
        if len(self._queries) >= REMEMBERED_MAX:
            self._queries.clear()
        self._queries.add(query)


class CandidateLists:
    """The lists of one query; those of an earlier one are deleted."""

    def __init__(self, connection: apsw.Connection, frequent: FrequentQueries) -> None:
        self._connection = connection
        self.frequent = frequent
        self._lists = 0
        connection.execute(_CLEAR)

    def empty(self) -> Candidates:
        self._lists += 1
        return Candidates(self._lists << _LIST_BITS, 0)

    def read(self, table: str, query: str, *, shift: int, rows_max: int | None) -> Candidates | None:
        """The conversations of the rows of the FTS5 table that match, or None if there are more rows than `rows_max`.

        The number of a conversation is that of its row, shifted right by `shift` bits. Rows beyond the limit of a
        conversation that is listed are not noticed, nor do they matter.
        """
        if query in self.frequent:
            return None
        first_key = self.empty().first_key
        matching = f"FROM {table} WHERE {table} MATCH ?"
        self._connection.execute(
            f"""INSERT OR IGNORE INTO temp.candidates
              SELECT ? + (rowid >> {shift}) {matching} ORDER BY rowid LIMIT ?""",
            (first_key, query, -1 if rows_max is None else rows_max),
        )
        listed = self._connection.changes()
        if rows_max is None:
            return Candidates(first_key, listed)
        last = self._connection.execute(_LAST, (first_key,)).get
        after = -1 if last is None else ((last - first_key + 1) << shift) - 1
        more = self._connection.execute(f"SELECT 1 {matching} AND rowid > ? LIMIT 1", (query, after)).get
        if more:
            self.frequent.add(query)
            return None
        return Candidates(first_key, listed)
