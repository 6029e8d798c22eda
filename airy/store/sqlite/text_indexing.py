"""Moves what the fold wrote into the full-text indexes, many rows at a time.

A small transaction of FTS5 costs as much as a large one. The fold therefore leaves the words of a message in
`unindexed_messages` and the marks of a conversation in `unindexed_conversations`. They are moved before a search, so
that it finds everything that was folded, and before a batch if `UNINDEXED_MAX` rows are waiting.
"""

import apsw

from airy.store.sqlite import conversation_index, message_index
from airy.store.sqlite.message_index import UnindexedMessages

UNINDEXED_MAX = 500  # rows, beside those of one batch


class TextIndexing:
    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._messages = UnindexedMessages(connection)
        self._waiting: int = sum(connection.execute(sql).get for sql in (message_index.COUNT, conversation_index.COUNT))

    @property
    def is_due(self) -> bool:
        return self._waiting >= UNINDEXED_MAX

    def added(self, rows: int) -> None:
        self._waiting += rows

    def index(self) -> None:
        """One transaction, if anything is waiting."""
        if not self._waiting:
            return
        with self._connection:
            words = self._messages.index()
            for sql in conversation_index.INDEX:
                self._connection.execute(sql)
        self._messages.committed(words)
        self._waiting = 0
