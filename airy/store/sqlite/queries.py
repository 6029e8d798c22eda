"""Queries of the store as SQL: single rows, messages by cursor, pending work. Synchronous, bounded.

`conversations.list` has its own module, because it may need more than one statement.
"""

# ruff: noqa: S608 - only names and placeholders of our own are put into SQL; values are bound

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any

import apsw
import msgspec

from airy import topics
from airy.errors import Refused
from airy.model.conversation import Conversation, Message
from airy.model.entity import Channel
from airy.store.api import ConversationView, Page, Work
from airy.store.sqlite.id_encoding import StoredId, decode_id, encode_client_id, encode_id
from airy.store.sqlite.schema import LISTED, TOPIC_INDEX

_decode_conversation = msgspec.json.Decoder(Conversation).decode
_decode_message = msgspec.json.Decoder(Message).decode
_decode_channel = msgspec.json.Decoder(Channel).decode

_CHANNELS = TOPIC_INDEX[topics.CHANNELS.name]
_CHANNEL = f"SELECT body FROM entities WHERE topic = {_CHANNELS} AND id = ?"
_VIEW = f"SELECT n, channel, body FROM conversations WHERE id = ? AND visible = {LISTED}"
_VIEW_BY_NUMBER = "SELECT n, channel, body FROM conversations WHERE n = ?"
_MESSAGE_OF = "SELECT body FROM messages WHERE id = ? AND conversation = ?"
_MESSAGE = "SELECT body FROM messages WHERE id = ? LIMIT 1"
_LISTED = "messages INDEXED BY messages_recent WHERE conversation = ? AND deleted = 0"
_NEWEST = f"SELECT body, id FROM {_LISTED} ORDER BY sequence DESC LIMIT ?"
_FROM = f"SELECT body, id FROM {_LISTED} AND sequence <= ? ORDER BY sequence DESC LIMIT ?"
_BEFORE = f"SELECT id FROM {_LISTED} AND sequence > ? ORDER BY sequence LIMIT 1 OFFSET ?"
_ACCEPTED = """
SELECT accepted FROM seen WHERE conversation = (SELECT n FROM conversations WHERE id = ?) AND fact = ?"""
_SENDS = """
SELECT source, "partition", conversation_id, message_id, head_due, state, channel_id, ifnull(trace, ''), attempted,
  since
FROM sends WHERE source = ? AND channel_id = ? AND head_due <= ? AND (head_due, since, conversation_id) > (?, ?, ?)
  AND "partition" IN ({marks})
ORDER BY head_due, since, conversation_id LIMIT ?"""
BEFORE_ALL = (-1, 0, "")  # no send is due before 0
_NEXT_CHANNEL = "SELECT min(channel_id) FROM sends WHERE source = ? AND head_due IS NOT NULL AND channel_id > ?"
_PROFILES = """
SELECT source, "partition", conversation_id, NULL, 0, '', channel_id, '' FROM profiles
WHERE source = ? AND connected = 1 AND "partition" IN ({marks}) AND channel_id NOT IN ({excluded})
ORDER BY conversation DESC LIMIT ?"""


class ViewReader:
    """Reads conversations with channel and last message; a channel is read once per page."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._channels: dict[StoredId, Channel] = {}

    def by_id(self, conversation_id: str) -> ConversationView | None:
        row = self._connection.execute(_VIEW, (encode_client_id(conversation_id),)).get
        return None if row is None else self._view(row)

    def by_numbers(self, numbers: Sequence[int]) -> list[ConversationView]:
        return [self._view(self._connection.execute(_VIEW_BY_NUMBER, (n,)).get) for n in numbers]

    def _view(self, row: tuple[int, StoredId, bytes]) -> ConversationView:
        n, channel_key, body = row
        channel = self._channels.get(channel_key)
        if channel is None:
            channel = _decode_channel(self._connection.execute(_CHANNEL, (channel_key,)).get)
            self._channels[channel_key] = channel
        conversation = _decode_conversation(body)
        last = None
        if conversation.last_message_id is not None:
            last = self._connection.execute(_MESSAGE_OF, (encode_id(conversation.last_message_id), n)).get
        return ConversationView(conversation, channel, None if last is None else _decode_message(last))


def conversation(connection: apsw.Connection, conversation_id: str) -> ConversationView | None:
    return ViewReader(connection).by_id(conversation_id)


# --- messages


def message(connection: apsw.Connection, message_id: str) -> Message | None:
    body = connection.execute(_MESSAGE, (encode_client_id(message_id),)).get
    return None if body is None else _decode_message(body)


def messages(connection: apsw.Connection, conversation_id: str, cursor: str | None, size: int) -> Page[Message]:
    """A cursor is the id of the first message of a page. If all messages fit on one page, the page has all.

    Raises `Refused` for a cursor that is no message of the conversation.
    """
    row = connection.execute(
        "SELECT n, messages FROM conversations WHERE id = ?", (encode_client_id(conversation_id),)
    ).get
    if row is None:
        return Page([], None, None, 0)
    n, total = row
    sequence = None
    if first := (cursor or "").strip():
        key = (encode_client_id(first), n)
        sequence = connection.execute("SELECT sequence FROM messages WHERE id = ? AND conversation = ?", key).get
        if sequence is None:
            raise Refused(f"cursor {first[:64]!r} is not a message of this conversation", field="cursor")
    rows: list[Any]
    if sequence is None or total <= size:
        rows = connection.execute(_NEWEST, (n, size + 1)).fetchall()
        return _page(rows, size, None, total)
    rows = connection.execute(_FROM, (n, sequence, size + 1)).fetchall()
    previous = connection.execute(_BEFORE, (n, sequence, size - 1)).get
    return _page(rows, size, previous, total)


def _page(rows: list[Any], size: int, previous: StoredId | None, total: int) -> Page[Message]:
    following = decode_id(rows[size][1]) if len(rows) > size else None
    items = [_decode_message(row[0]) for row in rows[:size]]
    return Page(items, None if previous is None else decode_id(previous), following, total)


# --- pending work


def accepted(connection: apsw.Connection, conversation_id: str, fact_id: str) -> bool:
    return bool(connection.execute(_ACCEPTED, (encode_client_id(conversation_id), encode_id(fact_id))).get)


def sends(
    connection: apsw.Connection,
    source: str,
    partitions: Sequence[int],
    *,
    due_until_ms: int,
    work_max: int,
    per_channel_max: int,
    excluded_channels: Collection[str],
    after: Work | None,
) -> list[Work]:
    """Channel by channel, so that a channel with a large backlog costs no more than one with a small one."""
    sql = _SENDS.format(marks=", ".join("?" * len(partitions)))
    place = BEFORE_ALL if after is None else after.place
    found: list[Work] = []
    channel_id = _next_channel(connection, source, "") if source else ""  # deferred messages have neither
    while channel_id is not None:
        if channel_id not in excluded_channels:
            bindings = (source, channel_id, due_until_ms, *place, *partitions, min(per_channel_max, work_max))
            found += (Work("send", *row) for row in connection.execute(sql, bindings))
        channel_id = _next_channel(connection, source, channel_id)
    return sorted(found, key=attrgetter("place"))[:work_max]


def _next_channel(connection: apsw.Connection, source: str, after: str) -> str | None:
    found: str | None = connection.execute(_NEXT_CHANNEL, (source, after)).get
    return found


def profiles(
    connection: apsw.Connection,
    source: str,
    partitions: Sequence[int],
    *,
    work_max: int,
    excluded_channels: Collection[str],
) -> list[Work]:
    sql = _PROFILES.format(marks=", ".join("?" * len(partitions)), excluded=", ".join("?" * len(excluded_channels)))
    bindings = (source, *partitions, *excluded_channels, work_max)
    return [Work("profile", *row) for row in connection.execute(sql, bindings)]
