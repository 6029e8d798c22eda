"""The rows a batch of facts writes, and its look-ups: the second half of the unit of work.

`ConversationState` fills it, `flush` writes it with one statement per kind of row. It neither begins nor ends a
transaction, and nothing outlives the batch: rows that are not flushed are lost with it.
"""

# ruff: noqa: S608 - only names and placeholders of our own are put into SQL; values are bound

from collections import Counter
from collections.abc import Callable

import apsw

from airy import topics
from airy.model.conversation import Conversation, Message
from airy.store.api import WorkKey
from airy.store.sqlite import channel_activity, conversation_counts, conversation_index, message_index
from airy.store.sqlite.batch_rows import ChangedState
from airy.store.sqlite.contact_rows import ContactRows
from airy.store.sqlite.conversation_state import LOAD, ConversationState
from airy.store.sqlite.id_encoding import StoredId, encode_id
from airy.store.sqlite.schema import TOPIC_INDEX

Row = tuple[object, ...]

_CHANNELS = TOPIC_INDEX[topics.CHANNELS.name]

_CHANNEL = f"SELECT connected FROM entities WHERE topic = {_CHANNELS} AND id = ?"
OFFSETS_CHARS_MAX = 1_000  # of a message; beyond that, later records are not listed
_INSERT_CONVERSATION = """
INSERT INTO conversations(n, id, channel, created_at, last_message_at, activity_at, visible, has_unread, unread_count,
  messages, contacted, state, name, body) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_UPDATE_CONVERSATION = """
UPDATE conversations SET channel = ?, created_at = ?, last_message_at = ?, activity_at = ?, visible = ?,
  has_unread = ?, unread_count = ?, messages = ?, contacted = ?, state = ?, name = ?, body = ? WHERE n = ?"""
# The frequent update. It sets no column of the other indexes, so SQLite does not write those.
_UPDATE_ACTIVITY = """
UPDATE conversations SET last_message_at = ?, activity_at = ?, unread_count = ?, messages = ?, body = ? WHERE n = ?"""
_INSERT_MESSAGE = """
INSERT INTO messages(n, id, conversation, sequence, deleted, open_at, body, offsets) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"""
_UPDATE_MESSAGE = f"""
UPDATE messages SET sequence = ?, deleted = ?, open_at = ?, body = ?,
  offsets = CASE WHEN length(offsets) < {OFFSETS_CHARS_MAX} THEN offsets || ? ELSE offsets END WHERE n = ?"""
_PUT_PROVIDER_ID = "INSERT OR REPLACE INTO provider_ids(conversation, provider_id, message) VALUES(?, ?, ?)"
_PUT_SEEN = "INSERT OR IGNORE INTO seen VALUES(?, ?, ?)"
_PUT_ALIAS = "INSERT OR REPLACE INTO aliases VALUES(?, ?, ?, ?)"
_DELETE_ALIAS = "DELETE FROM aliases WHERE channel = ? AND name = ? AND conversation = ?"
_PUT_TAG = "INSERT OR IGNORE INTO conversation_tags VALUES(?, ?)"
_DELETE_TAG = "DELETE FROM conversation_tags WHERE tag = ? AND conversation = ?"
_PUT_SEND = """
INSERT INTO sends VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?) ON CONFLICT(conversation, sequence) DO UPDATE SET
  conversation_id = excluded.conversation_id, message_id = excluded.message_id, channel_id = excluded.channel_id,
  source = excluded.source, "partition" = excluded."partition", state = excluded.state, due = excluded.due,
  since = excluded.since, head_due = NULL, trace = ifnull(excluded.trace, trace),
  attempted = excluded.attempted"""
_DELETE_SEND = "DELETE FROM sends WHERE conversation = ? AND sequence = ?"
_CLEAR_HEAD = "UPDATE sends SET head_due = NULL WHERE conversation = ? AND head_due IS NOT NULL"
_SET_HEAD = """
UPDATE sends SET head_due = due WHERE conversation = ?1
  AND sequence = (SELECT min(sequence) FROM sends WHERE conversation = ?1)"""
_PUT_PROFILE = "INSERT OR REPLACE INTO profiles VALUES(?, ?, ?, ?, ?, ?)"
_DELETE_PROFILE = "DELETE FROM profiles WHERE source = ? AND connected IN (0, 1) AND conversation = ?"


class Counters:
    """The last row numbers and the counts of the store: in memory while a batch is folded, stored on commit."""

    __slots__ = ("conversation", "counts", "message", "unindexed")

    def __init__(self, conversation: int, message: int, counts: dict[str, int]) -> None:
        self.conversation = conversation  # the last row number assigned
        self.message = message
        self.counts = counts
        self.unindexed = 0  # rows that this transaction left to be indexed

    def copy(self) -> "Counters":
        copied = Counters(self.conversation, self.message, dict(self.counts))
        copied.unindexed = self.unindexed
        return copied


class WriteBatch:
    """Implements `BatchRows` for its conversation states."""

    def __init__(self, connection: apsw.Connection, counters: Counters) -> None:
        self.connection = connection
        # One cursor for all look-ups: creating one costs as much as a look-up.
        self.look_up: Callable[[str, Row], apsw.Cursor] = connection.cursor().execute
        self.counts = counters.counts
        self.trace = ""  # `traceparent` of the record being folded
        self.offset = 0  # of the record being folded
        self.changed: list[ChangedState] = []
        self.seen: list[Row] = []
        self.provider_ids: list[Row] = []
        self.message_inserts: list[Row] = []
        self.message_updates: list[Row] = []
        self.unindexed: list[Row] = []
        self.unindexed_conversations: list[Row] = []
        self.conversation_inserts: list[Row] = []
        self.conversation_updates: list[Row] = []
        self.activity_updates: list[Row] = []
        self.counted: Counter[conversation_counts.Group] = Counter()  # growth of the numbers of conversations
        self.message_times: dict[tuple[str, bool], int] = {}
        self.aliases: list[Row] = []
        self.removed_aliases: list[Row] = []
        self.tags: list[Row] = []
        self.removed_tags: list[Row] = []
        self.sends: dict[tuple[int, int], Row | None] = {}  # None: delete the row
        self.reordered: set[int] = set()  # conversations whose oldest message to send may have changed
        self.profiles: list[Row] = []
        self.removed_profiles: list[Row] = []
        self.touched: set[WorkKey] = set()  # kept by `flush`: it belongs to the whole batch
        self.contacts_due: list[Conversation] = []
        self._counters = counters
        self._states: dict[str, ConversationState] = {}
        self._channels: dict[StoredId, bool | None] = {}

    # --- look-ups

    def state(self, conversation_id: str) -> ConversationState:
        state = self._states.get(conversation_id)
        if state is None:
            stored_id = encode_id(conversation_id)
            row = self.look_up(LOAD, (stored_id,)).get
            state = ConversationState(self, conversation_id, stored_id, row)
            self._states[conversation_id] = state
        return state

    def add_message_time(self, message: Message) -> None:
        if message.channel_id:  # a deferred message has none yet
            key = message.channel_id, message.from_contact
            self.message_times[key] = max(message.sent_at_ms, self.message_times.get(key, 0))

    def connected(self, channel: StoredId) -> bool | None:
        """None: the channel has no record."""
        if channel in self._channels:
            return self._channels[channel]
        found = self.look_up(_CHANNEL, (channel,)).get
        connected = self._channels[channel] = None if found is None else bool(found)
        return connected

    def next_conversation(self) -> int:
        self._counters.conversation += 1
        return self._counters.conversation

    def next_message(self) -> int:
        self._counters.message += 1
        return self._counters.message

    # --- writing

    def flush(self) -> None:
        """Write everything and clear the batch; later look-ups read from the database again."""
        for state in self.changed:
            state.write()
        self.changed.clear()
        self.write_messages()
        self._counters.unindexed += len(self.unindexed) + len(self.unindexed_conversations)
        self._write(message_index.PUT, self.unindexed)
        self._write(conversation_index.PUT, self.unindexed_conversations)
        self._write(_INSERT_CONVERSATION, self.conversation_inserts)
        self._write(_UPDATE_ACTIVITY, self.activity_updates)
        self._write(_UPDATE_CONVERSATION, self.conversation_updates)
        conversation_counts.add(self.connection, self.counted)
        self.counted.clear()
        channel_activity.put(self.connection, self.message_times)
        self.message_times.clear()
        self._write(_PUT_SEEN, self.seen)
        self._write(_PUT_PROVIDER_ID, self.provider_ids)
        self._write(_DELETE_ALIAS, self.removed_aliases)
        self._write(_PUT_ALIAS, self.aliases)
        self._write(_DELETE_TAG, self.removed_tags)
        self._write(_PUT_TAG, self.tags)
        self._write(_DELETE_PROFILE, self.removed_profiles)
        self._write(_PUT_PROFILE, self.profiles)
        if self.reordered:
            self._write_sends()
        if self.contacts_due:
            contacts = ContactRows(self.connection, self.counts)
            for conversation in self.contacts_due:
                contacts.refresh(conversation)
            self.contacts_due.clear()
        self._states.clear()
        self._channels.clear()

    def write_messages(self) -> None:
        """Write early, for a query over messages in the middle of a batch."""
        self._write(_INSERT_MESSAGE, self.message_inserts)
        self._write(_UPDATE_MESSAGE, self.message_updates)

    def _write_sends(self) -> None:
        self._write(_DELETE_SEND, [message for message, row in self.sends.items() if row is None])
        self._write(_PUT_SEND, [row for row in self.sends.values() if row is not None])
        self.sends.clear()
        reordered = [(n,) for n in self.reordered]
        self.reordered.clear()
        self.connection.executemany(_CLEAR_HEAD, reordered)
        self.connection.executemany(_SET_HEAD, reordered)

    def _write(self, sql: str, rows: list[Row] | list[tuple[int, int]]) -> None:
        if rows:
            self.connection.executemany(sql, rows)
            rows.clear()
