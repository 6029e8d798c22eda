"""One conversation while a batch is folded: `FoldState` over rows, unit of work, first half.

The conversation and each message are read once, changed in memory by the fold, and handed to the batch once. Only the
rare questions that need an index (watermarks, the latest message) write early, and then ask the database.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import apsw
import msgspec
from msgspec import Raw

from airy import topics
from airy.model import ids, metadata, render
from airy.model.conversation import Conversation, Message
from airy.model.delivery import Delivery
from airy.store.sqlite.key import Key, key
from airy.store.sqlite.schema import HIDDEN, SHOWN, WAITING
from airy.store.words import keyword, words

NAME_KEY = "contact.display_name"
PROFILE_KEY = "contact.fetch_state"

Row = tuple[object, ...]

_encode = msgspec.json.Encoder().encode
_decode_conversation = msgspec.json.Decoder(Conversation).decode
_decode_message = msgspec.json.Decoder(Message).decode

LOAD = "SELECT n, messages, contacted, visible, has_unread, state, name, channel, body FROM conversations WHERE id = ?"
_NOTHING = (0, False, HIDDEN, False, None, "", None, None)  # the columns after `n` of one that is not there

_LOAD_MESSAGE = "SELECT n, body FROM messages WHERE id = ? AND conversation = ?"
_BY_PROVIDER_ID = "SELECT message FROM provider_ids WHERE conversation = ? AND provider_id = ?"
_OPEN = "SELECT body FROM messages WHERE conversation = ? AND open_at > ? AND open_at <= ? ORDER BY sequence"
_LATEST = """
SELECT body FROM messages WHERE conversation = ? AND deleted = 0 AND id <> ?
ORDER BY sent_at DESC, sequence DESC LIMIT 1"""
_SEEN = "SELECT 1 FROM seen WHERE conversation = ? AND fact = ?"

_OPEN_STATES = frozenset({Delivery.UNKNOWN, Delivery.SENT, Delivery.DELIVERED})  # a watermark may move them
_TO_SEND = frozenset({Delivery.PENDING, Delivery.SENDING})


class Rows(Protocol):
    """What a state needs of its batch."""

    connection: apsw.Connection
    look_up: Callable[[str, Row], apsw.Cursor]
    counts: dict[str, int]
    marked: list["ConversationState"]
    seen: list[Row]
    provider_ids: list[Row]
    message_inserts: list[Row]
    message_updates: list[Row]
    conversation_inserts: list[Row]
    conversation_updates: list[Row]
    conversation_touches: list[Row]
    tags: list[Row]
    untags: list[Row]
    sends: dict[tuple[int, int], Row | None]
    trace: str
    resorted: set[int]
    profiles: list[Row]
    profiled: list[Row]

    def connected(self, channel: Key) -> bool | None: ...
    def next_conversation(self) -> int: ...
    def next_message(self) -> int: ...
    def write_messages(self) -> None: ...


class _Entry:
    """A message id in memory: the message, if there is one, and what the database says about it."""

    __slots__ = ("deleted", "delivery", "dirty", "key", "message", "n", "provider_id", "trace", "waits")

    def __init__(self, its_key: Key) -> None:
        self.key = its_key
        self.n = 0  # not in the database
        self.message: Message | None = None
        self.dirty = False
        self.deleted = True
        self.delivery: Delivery | None = None
        self.provider_id: str | None = None
        self.waits = False  # to be sent
        self.trace: str | None = None  # of the record that asked for that; None: the database knows it

    def settle(self, message: Message) -> None:
        """Keep what the database says: the fold changes the struct in place."""
        self.message = message
        self.deleted = message.deleted
        self.delivery = message.delivery
        self.provider_id = message.provider_id
        self.waits = _to_send(message)


def _to_send(message: Message) -> bool:
    return message.delivery in _TO_SEND and not message.deleted


class ConversationState:
    """`FoldState`. `row` is what the database holds of it, if anything: the columns of `LOAD`."""

    def __init__(self, rows: Rows, id_: str, its_key: Key, row: tuple[Any, ...] | None) -> None:
        self._rows = rows
        self._id = id_
        self._key = its_key
        self._seen: set[Key] = set()  # of this batch
        self._entries: dict[str, _Entry] = {}
        self._providers: dict[str, str] = {}  # of this batch: provider id to message id
        self._put: list[_Entry] = []
        self._dirty = False
        self._marked = False
        self._conversation: Conversation | None = None
        self._was_tags: tuple[str, ...] = ()
        self._wanted_profile = False
        self._raw_name: Raw | None = None
        self._stored = row is not None
        self._n: int
        self._messages: int  # those that are listed
        self._name: str
        self._body: bytes | None  # until it is decoded
        self._n, self._messages, contacted, visible, has_unread, state, self._name, channel, self._body = row or (
            rows.next_conversation(),
            *_NOTHING,
        )
        self._contacted = bool(contacted)  # a contact ever wrote
        self._was: Row = (channel, visible, has_unread, contacted, state, self._name)
        self._was_shown = visible == SHOWN

    # --- FoldState

    def conversation(self) -> Conversation | None:
        if self._body is not None:
            conversation = self._conversation = _decode_conversation(self._body)
            self._body = None
            self._was_tags = tuple(conversation.tags)
            self._raw_name = conversation.metadata.get(NAME_KEY)
            self._wanted_profile = self._wants_profile(conversation)
        return self._conversation

    def put_conversation(self, conversation: Conversation) -> None:
        self.conversation()  # what was there has to be known before it is replaced
        self._conversation = conversation
        self._dirty = True
        self._mark()

    def message(self, message_id: str) -> Message | None:
        return self._entry(message_id).message

    def message_by_provider_id(self, provider_id: str) -> Message | None:
        """A message whose own id derives from its provider id needs no index; the others are in `provider_ids`."""
        conversation = self.conversation()
        if conversation is not None:
            derived = self.message(ids.message_id(conversation.channel_id, provider_id))
            if derived is not None and derived.provider_id == provider_id:
                return derived
        message_id = self._providers.get(provider_id)
        if message_id is None and self._stored:
            message_id = self._rows.look_up(_BY_PROVIDER_ID, (self._n, provider_id)).get
        message = None if message_id is None else self.message(message_id)
        return message if message is not None and message.provider_id == provider_id else None

    def ours_up_to(self, at_ms: int, *, above_ms: int) -> Iterable[Message]:
        return [
            message
            for message in self._query(_OPEN, (self._n, above_ms, at_ms))
            if message.delivery in _OPEN_STATES and above_ms < message.out_at_ms <= at_ms
        ]

    def latest_message(self, *, excluding: str) -> Message | None:
        return next(self._query(_LATEST, (self._n, key(excluding))), None)

    def put_message(self, message: Message) -> None:
        entry = self._entry(message.id)
        entry.message = message
        if message.provider_id != entry.provider_id:
            entry.provider_id = message.provider_id
            self._note_provider_id(message)
        waits = _to_send(message)
        if waits and not entry.waits:
            entry.trace = self._rows.trace
        entry.waits = waits
        if not entry.dirty:
            entry.dirty = True
            self._put.append(entry)
            self._mark()

    def seen(self, fact_id: str) -> bool:
        fact = key(fact_id)
        if fact in self._seen:
            return True
        return self._stored and self._rows.look_up(_SEEN, (self._n, fact)).get is not None

    def remember(self, fact_id: str, *, accepted: bool) -> None:
        fact = key(fact_id)
        self._seen.add(fact)
        self._rows.seen.append((self._n, fact, accepted))
        self._mark()

    # --- reading

    def _mark(self) -> None:
        if not self._marked:
            self._marked = True
            self._rows.marked.append(self)

    def _entry(self, message_id: str) -> _Entry:
        entry = self._entries.get(message_id)
        if entry is None:
            entry = self._entries[message_id] = _Entry(key(message_id))
            if self._stored:
                row = self._rows.look_up(_LOAD_MESSAGE, (entry.key, self._n)).get
                if row is not None:
                    entry.n, body = row
                    entry.settle(_decode_message(body))
        return entry

    def _query(self, sql: str, bindings: Row) -> Iterator[Message]:
        """Messages the database finds once it knows what changed; those in memory are returned as they are."""
        self._write_messages()
        self._rows.write_messages()
        found: list[Any] = self._rows.connection.execute(sql, bindings).fetchall()
        for (body,) in found:
            message = _decode_message(body)
            yield self.message(message.id) or message

    # --- writing

    def _note_provider_id(self, message: Message) -> None:
        provider_id = message.provider_id
        if provider_id is None:
            return
        conversation = self._conversation
        at_home = conversation is None or conversation.channel_id == message.channel_id
        if not at_home or message.id != ids.message_id(message.channel_id, provider_id):
            self._providers[provider_id] = message.id
            self._rows.provider_ids.append((self._n, provider_id, message.id))

    def write(self) -> None:
        """Hand everything that changed to the batch, with what follows from it."""
        self._marked = False
        self._write_messages()
        conversation = self.conversation()
        if conversation is not None:
            if self._dirty:
                self._dirty = False
                self._write_conversation(conversation)
        elif not self._stored:  # only facts are known, none of which said anything to see
            self._stored = True
            self._rows.conversation_inserts.append((self._n, self._key, None, 0, 0, HIDDEN, 0, 0, 0, 0, None, "", None))

    def _write_messages(self) -> None:
        if not self._put:
            return
        self.conversation()  # whether it waited for a profile is asked before its messages say that it does
        self._dirty = True
        rows = self._rows
        for entry in self._put:
            message = entry.message
            assert message is not None
            body = _encode(message)
            is_open = message.delivery in _OPEN_STATES and not message.from_contact
            open_at = message.out_at_ms if is_open else None
            fields = (message.sequence, message.sent_at_ms, message.deleted, open_at, body)
            if entry.n:
                rows.message_updates.append((*fields, entry.n))
            else:
                entry.n = rows.next_message()
                rows.message_inserts.append((entry.n, entry.key, self._n, *fields))
            listed = entry.deleted - message.deleted
            self._messages += listed
            rows.counts["messages"] += listed
            if message.from_contact:
                self._contacted = True
            else:
                self._write_send(message, entry)
            entry.dirty = False
            entry.settle(message)
        self._put.clear()

    def _write_send(self, message: Message, entry: _Entry) -> None:
        """What there is to send follows from the state of the message alone."""
        rows, state, was = self._rows, message.delivery, entry.delivery
        rows.counts["send_unknown"] += (state is Delivery.UNKNOWN) - (was is Delivery.UNKNOWN)
        had = was in _TO_SEND and not entry.deleted
        has = _to_send(message)
        rows.counts["send_pending"] += has - had
        if not (has or had):
            return
        due = 0 if state is Delivery.SENDING else message.retry_at_ms
        rows.sends[self._n, message.sequence] = (
            (
                self._n,
                message.sequence,
                self._id,
                message.id,
                message.channel_id,
                message.source,
                topics.EVENTS.partition(self._id),
                state.value,
                due,
                message.sent_at_ms,
                entry.trace,
            )
            if has
            else None
        )
        rows.resorted.add(self._n)

    def _write_conversation(self, conversation: Conversation) -> None:
        rows = self._rows
        channel = key(conversation.channel_id)
        connected = rows.connected(channel)
        visible = HIDDEN
        if conversation.visible:
            visible = WAITING if connected is None else SHOWN
        raw_name = conversation.metadata.get(NAME_KEY)
        if not self._name or raw_name != self._raw_name:
            name = metadata.text(conversation.metadata, NAME_KEY)
            self._name = words(render.default_contact_name(conversation) if name is None else name)
            self._raw_name = raw_name
        state = None if conversation.state is None else keyword(conversation.state)
        unread_count = conversation.unread_count
        has_unread = unread_count > 0
        now = (channel, visible, has_unread, self._contacted, state, self._name)
        times = (conversation.created_at_ms, conversation.last_message_at_ms)
        body = _encode(conversation)
        if not self._stored:
            self._stored = True
            rows.conversation_inserts.append(
                (
                    self._n,
                    self._key,
                    channel,
                    *times,
                    visible,
                    has_unread,
                    unread_count,
                    self._messages,
                    self._contacted,
                    state,
                    self._name,
                    body,
                )
            )
        elif now == self._was:
            rows.conversation_touches.append((*times, unread_count, self._messages, body, self._n))
        else:
            rows.conversation_updates.append(
                (
                    channel,
                    *times,
                    visible,
                    has_unread,
                    unread_count,
                    self._messages,
                    self._contacted,
                    state,
                    self._name,
                    body,
                    self._n,
                )
            )
        self._was = now
        rows.counts["conversations"] += (visible == SHOWN) - self._was_shown
        self._was_shown = visible == SHOWN
        if conversation.tags or self._was_tags:
            self._write_tags(conversation)
        self._write_profile(conversation, live=bool(connected))

    def _write_tags(self, conversation: Conversation) -> None:
        tags, was = set(conversation.tags), set(self._was_tags)
        self._rows.tags.extend((key(tag), self._n) for tag in tags - was)
        self._rows.untags.extend((key(tag), self._n) for tag in was - tags)
        self._was_tags = tuple(conversation.tags)

    def _wants_profile(self, conversation: Conversation) -> bool:
        return self._contacted and conversation.participant_id is not None and PROFILE_KEY not in conversation.metadata

    def _write_profile(self, conversation: Conversation, *, live: bool) -> None:
        wanted = self._wants_profile(conversation)
        if wanted == self._wanted_profile:
            return
        self._wanted_profile = wanted
        if wanted:
            self._rows.profiles.append(
                (
                    conversation.source,
                    live,
                    self._n,
                    self._id,
                    conversation.channel_id,
                    topics.EVENTS.partition(self._id),
                )
            )
        else:
            self._rows.profiled.append((conversation.source, self._n))
