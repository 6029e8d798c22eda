"""The rows a batch of facts will write, and the few it has to look up: unit of work, second half.

`ConversationState` fills it, `flush` writes it: one statement per kind of row, whatever the batch did to it. Nothing
here opens or ends a transaction, and nothing survives the batch: what is not flushed was never there.
"""

# ruff: noqa: S608 - only names and placeholders of our own are put into SQL; values are bound

from collections.abc import Callable

import apsw

from airy import topics
from airy.store.sqlite.key import Key, key
from airy.store.sqlite.schema import TOPIC_INDEX
from airy.store.sqlite.state import LOAD, ConversationState

Row = tuple[object, ...]

_CHANNELS = TOPIC_INDEX[topics.CHANNELS.name]

_CHANNEL = f"SELECT connected FROM entities WHERE topic = {_CHANNELS} AND id = ?"
_INSERT_CONVERSATION = """
INSERT INTO conversations(n, id, channel, created_at, last_message_at, visible, has_unread, unread_count, messages,
  contacted, state, name, body) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_UPDATE_CONVERSATION = """
UPDATE conversations SET channel = ?, created_at = ?, last_message_at = ?, visible = ?, has_unread = ?,
  unread_count = ?, messages = ?, contacted = ?, state = ?, name = ?, body = ? WHERE n = ?"""
# The usual update. It names no column of the other indexes, so SQLite leaves those alone.
_TOUCH_CONVERSATION = """
UPDATE conversations SET created_at = ?, last_message_at = ?, unread_count = ?, messages = ?, body = ? WHERE n = ?"""
_INSERT_MESSAGE = """
INSERT INTO messages(n, id, conversation, sequence, sent_at, deleted, open_at, body) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"""
_UPDATE_MESSAGE = "UPDATE messages SET sequence = ?, sent_at = ?, deleted = ?, open_at = ?, body = ? WHERE n = ?"
_PUT_PROVIDER_ID = "INSERT OR REPLACE INTO provider_ids VALUES(?, ?, ?)"
_PUT_SEEN = "INSERT OR IGNORE INTO seen VALUES(?, ?, ?)"
_PUT_TAG = "INSERT OR IGNORE INTO conversation_tags VALUES(?, ?)"
_DROP_TAG = "DELETE FROM conversation_tags WHERE tag = ? AND conversation = ?"
_PUT_SEND = """
INSERT INTO sends VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?) ON CONFLICT(conversation, sequence) DO UPDATE SET
  conversation_id = excluded.conversation_id, message_id = excluded.message_id, channel_id = excluded.channel_id,
  source = excluded.source, "partition" = excluded."partition", state = excluded.state, due = excluded.due,
  since = excluded.since, head_due = NULL, trace = ifnull(excluded.trace, trace)"""
_DROP_SEND = "DELETE FROM sends WHERE conversation = ? AND sequence = ?"
_NO_HEAD = "UPDATE sends SET head_due = NULL WHERE conversation = ? AND head_due IS NOT NULL"
_HEAD = """
UPDATE sends SET head_due = due WHERE conversation = ?1
  AND sequence = (SELECT min(sequence) FROM sends WHERE conversation = ?1)"""
_PUT_PROFILE = "INSERT OR REPLACE INTO profiles VALUES(?, ?, ?, ?, ?, ?)"
_DROP_PROFILE = "DELETE FROM profiles WHERE source = ? AND live IN (0, 1) AND conversation = ?"


class Tally:
    """Row numbers and counters: in memory while a batch is folded, in the database when it commits."""

    __slots__ = ("conversation", "counts", "message")

    def __init__(self, conversation: int, message: int, counts: dict[str, int]) -> None:
        self.conversation = conversation  # the last number given
        self.message = message
        self.counts = counts

    def copy(self) -> "Tally":
        return Tally(self.conversation, self.message, dict(self.counts))


class Batch:
    """`Rows` for the states it makes."""

    def __init__(self, connection: apsw.Connection, tally: Tally) -> None:
        self.connection = connection
        # One cursor for all: a new one costs as much as a look-up.
        self.look_up: Callable[[str, Row], apsw.Cursor] = connection.cursor().execute
        self.counts = tally.counts
        self.trace = ""  # of the record that is folded
        self.marked: list[ConversationState] = []
        self.seen: list[Row] = []
        self.provider_ids: list[Row] = []
        self.message_inserts: list[Row] = []
        self.message_updates: list[Row] = []
        self.conversation_inserts: list[Row] = []
        self.conversation_updates: list[Row] = []
        self.conversation_touches: list[Row] = []
        self.tags: list[Row] = []
        self.untags: list[Row] = []
        self.sends: dict[tuple[int, int], Row | None] = {}  # None: nothing to send any more
        self.resorted: set[int] = set()  # conversations whose oldest message to send may be another now
        self.profiles: list[Row] = []
        self.profiled: list[Row] = []
        self._tally = tally
        self._states: dict[str, ConversationState] = {}
        self._channels: dict[Key, bool | None] = {}

    # --- looking up

    def state(self, conversation_id: str) -> ConversationState:
        state = self._states.get(conversation_id)
        if state is None:
            its_key = key(conversation_id)
            row = self.look_up(LOAD, (its_key,)).get
            state = ConversationState(self, conversation_id, its_key, row)
            self._states[conversation_id] = state
        return state

    def connected(self, channel: Key) -> bool | None:
        """None: nobody wrote a record of this channel."""
        if channel in self._channels:
            return self._channels[channel]
        found = self.look_up(_CHANNEL, (channel,)).get
        connected = self._channels[channel] = None if found is None else bool(found)
        return connected

    def next_conversation(self) -> int:
        self._tally.conversation += 1
        return self._tally.conversation

    def next_message(self) -> int:
        self._tally.message += 1
        return self._tally.message

    # --- writing

    def flush(self) -> None:
        """Write everything and forget it: what is asked next is read again."""
        for state in self.marked:
            state.write()
        self.marked.clear()
        self.write_messages()
        self._write(_INSERT_CONVERSATION, self.conversation_inserts)
        self._write(_TOUCH_CONVERSATION, self.conversation_touches)
        self._write(_UPDATE_CONVERSATION, self.conversation_updates)
        self._write(_PUT_SEEN, self.seen)
        self._write(_PUT_PROVIDER_ID, self.provider_ids)
        self._write(_DROP_TAG, self.untags)
        self._write(_PUT_TAG, self.tags)
        self._write(_DROP_PROFILE, self.profiled)
        self._write(_PUT_PROFILE, self.profiles)
        if self.resorted:
            self._write_sends()
        self._states.clear()
        self._channels.clear()

    def write_messages(self) -> None:
        """Early, for a query about messages in the middle of a batch."""
        self._write(_INSERT_MESSAGE, self.message_inserts)
        self._write(_UPDATE_MESSAGE, self.message_updates)

    def _write_sends(self) -> None:
        self._write(_DROP_SEND, [place for place, row in self.sends.items() if row is None])
        self._write(_PUT_SEND, [row for row in self.sends.values() if row is not None])
        self.sends.clear()
        resorted = [(n,) for n in self.resorted]
        self.resorted.clear()
        self.connection.executemany(_NO_HEAD, resorted)
        self.connection.executemany(_HEAD, resorted)

    def _write(self, sql: str, rows: list[Row] | list[tuple[int, int]]) -> None:
        if rows:
            self.connection.executemany(sql, rows)
            rows.clear()
