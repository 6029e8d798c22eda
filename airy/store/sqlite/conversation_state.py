"""One conversation while a batch is folded: `FoldState` over rows, the first half of the unit of work.

The conversation and each message are read once, changed in memory by the fold, and added to the batch once. Only the
rare look-ups that need an index (watermarks, the latest message) write early and query the database.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Raw

from airy import topics
from airy.model import ids, metadata, render
from airy.model.conversation import Conversation, Message
from airy.model.delivery_state import WATERMARK_STATES, DeliveryState
from airy.sources.catalogue import kind_name
from airy.store.api import WorkKey
from airy.store.search_text import normalized_keyword, normalized_words
from airy.store.sqlite import alias_rows, conversation_index
from airy.store.sqlite.batch_rows import BatchRows, Row
from airy.store.sqlite.conversation_counts import Group, group
from airy.store.sqlite.error_translation import row_decoder
from airy.store.sqlite.id_encoding import StoredId, encode_id
from airy.store.sqlite.message_index import unindexed_row
from airy.store.sqlite.message_slot import TO_SEND_STATES, MessageSlot, needs_sending
from airy.store.sqlite.schema import HIDDEN, LISTED, NO_CHANNEL

NAME_KEY = "contact.display_name"
FETCH_STATE_KEY = "contact.fetch_state"

_encode = msgspec.json.Encoder().encode
_decode_conversation = row_decoder(Conversation)
_decode_message = row_decoder(Message)

LOAD = """
SELECT n, messages, contacted, has_contact, visible, has_unread, state, name, channel, body
FROM conversations WHERE id = ?"""
_MISSING = (
    0,
    False,
    False,
    HIDDEN,
    False,
    None,
    "",
    None,
    None,
)  # what follows `n` where there is no row

_LOAD_MESSAGE = "SELECT n, body FROM messages WHERE id = ? AND conversation = ?"
_BY_PROVIDER_ID = "SELECT message FROM provider_ids WHERE conversation = ? AND provider_id = ?"
_UP_TO = "SELECT body FROM messages WHERE conversation = ? AND open_at > ? AND open_at <= ? ORDER BY sequence"
_LATEST = """
SELECT body FROM messages WHERE conversation = ? AND deleted = 0 AND id <> ?
ORDER BY sequence DESC LIMIT 1"""
_SEEN = "SELECT 1 FROM seen WHERE conversation = ? AND fact = ?"


class ConversationState:
    """`FoldState`. `row` has the columns of `LOAD`; None if the conversation has no row."""

    def __init__(self, rows: BatchRows, id_: str, stored_id: StoredId, row: tuple[Any, ...] | None) -> None:
        self._rows = rows
        self._id = id_
        self._stored_id = stored_id
        self._seen: set[StoredId] = set()  # of this batch
        self._slots: dict[str, MessageSlot] = {}
        self._providers: dict[str, str] = {}  # provider id to message id, of this batch
        self._put: list[MessageSlot] = []
        self._dirty = False
        self._is_in_batch = False
        self._conversation: Conversation | None = None
        self._stored_tags: tuple[str, ...] = ()
        self._stored_aliases: dict[str, int] = {}
        self._stored_profile_wanted = False
        self._stored_naming: tuple[Raw | None, str] = (None, "")  # what the name is made of
        self._stored_created_at_ms = 0
        self._indexed_metadata: dict[str, Raw] = {}
        self._stored = row is not None
        self._n: int
        self._messages: int  # not deleted
        self._name: str
        self._body: bytes | None  # None once decoded
        columns = row or (rows.next_conversation(), *_MISSING)
        self._n, self._messages, contacted, has_contact, visible, has_unread, state, self._name = columns[:8]
        channel, self._body = columns[8:]
        self._has_contact = bool(has_contact)
        self._contacted = bool(contacted)  # whether the contact has written
        self._stored_columns: Row = (channel, visible, has_unread, contacted, state, self._name)
        self._group = group(channel, state, has_unread=bool(has_unread)) if visible == LISTED else None
        self._indexed_name = self._name

    # --- FoldState

    def conversation(self) -> Conversation | None:
        if self._body is not None:
            conversation = self._conversation = _decode_conversation(self._body)
            self._body = None
            self._stored_tags = tuple(conversation.tags)
            self._stored_aliases = dict(conversation.aliases)
            self._stored_naming = (conversation.metadata.get(NAME_KEY), conversation.source)
            self._stored_created_at_ms = conversation.created_at_ms
            self._indexed_metadata = dict(conversation.metadata)
            self._stored_profile_wanted = self._wants_profile(conversation)
        return self._conversation

    def put_conversation(self, conversation: Conversation) -> None:
        self.conversation()  # the stored values are needed before they are replaced
        self._conversation = conversation
        self._dirty = True
        self._add_to_batch()

    def message(self, message_id: str) -> Message | None:
        return self._slot(message_id).message

    def message_by_provider_id(self, provider_id: str) -> Message | None:
        """A message whose id derives from its provider id needs no index; the others are in `provider_ids`."""
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

    def outbound_up_to(self, at_ms: int, *, above_ms: int) -> Iterable[Message]:
        return [
            message
            for message in self._query(_UP_TO, (self._n, above_ms, at_ms))
            if message.delivery in WATERMARK_STATES and above_ms < message.dispatched_at_ms <= at_ms
        ]

    def latest_message(self, *, excluding: str) -> Message | None:
        return next(self._query(_LATEST, (self._n, encode_id(excluding))), None)

    def put_message(self, message: Message) -> None:
        slot = self._slot(message.id)
        slot.message = message
        if message.provider_id != slot.provider_id:
            slot.provider_id = message.provider_id
            self._add_provider_id(message)
        to_send = needs_sending(message)
        if to_send and not slot.to_send:
            slot.trace = self._rows.trace
        slot.to_send = to_send
        slot.offsets += f",{self._rows.offset}"
        if not slot.dirty:
            slot.dirty = True
            self._put.append(slot)
            self._add_to_batch()

    def seen(self, fact_id: str) -> bool:
        fact = encode_id(fact_id)
        if fact in self._seen:
            return True
        return self._stored and self._rows.look_up(_SEEN, (self._n, fact)).get is not None

    def mark_seen(self, fact_id: str, *, accepted: bool) -> None:
        fact = encode_id(fact_id)
        self._seen.add(fact)
        self._rows.seen.append((self._n, fact, accepted))
        self._add_to_batch()

    # --- look-ups

    def _add_to_batch(self) -> None:
        if not self._is_in_batch:
            self._is_in_batch = True
            self._rows.changed.append(self)

    def _slot(self, message_id: str) -> MessageSlot:
        slot = self._slots.get(message_id)
        if slot is None:
            slot = self._slots[message_id] = MessageSlot(encode_id(message_id))
            if self._stored:
                row = self._rows.look_up(_LOAD_MESSAGE, (slot.stored_id, self._n)).get
                if row is not None:
                    slot.n, body = row
                    slot.set_stored(_decode_message(body))
        return slot

    def _query(self, sql: str, bindings: Row) -> Iterator[Message]:
        """Messages found by a query, after writing what changed; a message in memory is returned from memory."""
        self._write_messages()
        self._rows.write_messages()
        found: list[Any] = self._rows.connection.execute(sql, bindings).fetchall()
        for (body,) in found:
            message = _decode_message(body)
            yield self.message(message.id) or message

    # --- writing

    def _add_provider_id(self, message: Message) -> None:
        provider_id = message.provider_id
        if provider_id is None:
            return
        conversation = self._conversation
        same_channel = conversation is None or conversation.channel_id == message.channel_id
        if not same_channel or message.id != ids.message_id(message.channel_id, provider_id):
            self._providers[provider_id] = message.id
            self._rows.provider_ids.append((self._n, provider_id, message.id))

    def write(self) -> None:
        """Add everything that changed to the batch, with the rows derived from it."""
        self._is_in_batch = False
        self._write_messages()
        conversation = self.conversation()
        if conversation is not None:
            if self._dirty:
                self._dirty = False
                self._write_conversation(conversation)
        elif not self._stored:  # only ids of rejected facts are stored
            self._stored = True
            self._rows.conversation_inserts.append(
                (self._n, self._stored_id, None, 0, 0, 0, HIDDEN, 0, 0, 0, 0, None, "", None)
            )

    def _write_messages(self) -> None:
        if not self._put:
            return
        self.conversation()  # reads the stored values before the messages change `_contacted`
        self._dirty, rows = True, self._rows
        for slot in self._put:
            message = slot.message
            assert message is not None
            rows.add_message_time(message)
            if message.provider_id != slot.provider_id:  # set in place after it was put
                self._add_provider_id(message)
            body = _encode(message)
            is_open = message.delivery in WATERMARK_STATES and not message.from_contact
            open_at = message.dispatched_at_ms if is_open else None
            fields = (message.sequence, message.deleted, open_at, body)
            if slot.n:
                rows.message_updates.append((*fields, slot.offsets, slot.n))
                if slot.has_other_text(message):
                    rows.unindexed.append(unindexed_row(self._n, slot.n, message, stored=True))
            else:
                slot.n = rows.next_message()
                rows.message_inserts.append((slot.n, slot.stored_id, self._n, *fields, slot.offsets))
                rows.unindexed.append(unindexed_row(self._n, slot.n, message, stored=False))
            listed = slot.deleted - message.deleted
            self._messages += listed
            rows.counts["messages"] += listed
            if message.from_contact:
                self._contacted = True
            else:
                self._write_send(message, slot)
            slot.dirty, slot.offsets = False, ""
            slot.set_stored(message)
        self._put.clear()

    def _write_send(self, message: Message, slot: MessageSlot) -> None:
        """Whether there is something to send follows from the state of the message alone."""
        rows, state, before = self._rows, message.delivery, slot.delivery
        rows.counts["send_unknown"] += (state is DeliveryState.UNKNOWN) - (before is DeliveryState.UNKNOWN)
        had = before in TO_SEND_STATES and not slot.deleted
        has = needs_sending(message)
        rows.counts["send_pending"] += has - had
        if not (has or had):
            return
        due = 0 if state is DeliveryState.SENDING else message.retry_at_ms
        rows.sends[self._n, message.sequence] = (
            (
                self._n,
                message.sequence,
                self._id,
                message.id,
                message.channel_id,
                kind_name(message.source),
                topics.EVENTS.partition(self._id),
                state.value,
                due,
                message.sent_at_ms,
                slot.trace,
                message.attempt_at_ms,
            )
            if has
            else None
        )
        rows.reordered.add(self._n)
        rows.touched.add(WorkKey("send", kind_name(message.source)))

    def _write_conversation(self, conversation: Conversation) -> None:
        rows = self._rows
        channel = encode_id(conversation.channel_id)
        connected = rows.connected(channel)
        visible = HIDDEN
        if conversation.visible:
            visible = NO_CHANNEL if connected is None else LISTED
        self._update_texts(conversation)
        state = None if conversation.state is None else normalized_keyword(conversation.state)
        unread_count = conversation.unread_count
        has_unread = unread_count > 0
        columns = (channel, visible, has_unread, self._contacted, state, self._name)
        times = (conversation.created_at_ms, conversation.last_message_at_ms, conversation.activity_at_ms)
        body = _encode(conversation)
        if not self._stored:
            self._stored = True
            rows.conversation_inserts.append(
                (
                    self._n,
                    self._stored_id,
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
        elif columns == self._stored_columns and times[0] == self._stored_created_at_ms:
            rows.activity_updates.append((*times[1:], unread_count, self._messages, body, self._n))
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
        self._stored_columns = columns
        self._stored_created_at_ms = times[0]
        self._count(group(channel, state, has_unread=has_unread) if visible == LISTED else None)
        if conversation.tags or self._stored_tags:
            self._write_tags(conversation)
        if conversation.aliases != self._stored_aliases:
            alias_rows.add(self._rows, channel, self._n, self._stored_aliases, conversation.aliases)
            self._stored_aliases = dict(conversation.aliases)
        self._write_profile(conversation, connected=bool(connected))

    def _update_texts(self, conversation: Conversation) -> None:
        naming = (conversation.metadata.get(NAME_KEY), conversation.source)
        renamed = naming != self._stored_naming
        if conversation.visible and (renamed or not self._has_contact):
            self._rows.contacts_due.append(conversation)
        if renamed or not self._name:
            name = metadata.text(conversation.metadata, NAME_KEY)
            self._name = normalized_words(render.default_contact_name(conversation) if name is None else name)
            self._stored_naming = naming
        if self._name != self._indexed_name or conversation.metadata != self._indexed_metadata:
            row = conversation_index.unindexed_row(self._n, self._name, conversation.metadata)
            self._rows.unindexed_conversations.append(row)
            self._indexed_name, self._indexed_metadata = self._name, dict(conversation.metadata)

    def _count(self, counted: Group | None) -> None:
        """`counted`: the group of a listed conversation."""
        if counted == self._group:
            return
        self._rows.counts["conversations"] += (counted is not None) - (self._group is not None)
        for each, growth in ((self._group, -1), (counted, 1)):
            if each is not None:
                self._rows.counted[each] += growth
        self._group = counted

    def _write_tags(self, conversation: Conversation) -> None:
        tags, before = set(conversation.tags), set(self._stored_tags)
        self._rows.tags.extend((encode_id(tag), self._n) for tag in tags - before)
        self._rows.removed_tags.extend((encode_id(tag), self._n) for tag in before - tags)
        self._stored_tags = tuple(conversation.tags)

    def _wants_profile(self, conversation: Conversation) -> bool:
        return (
            self._contacted and conversation.participant_id is not None and FETCH_STATE_KEY not in conversation.metadata
        )

    def _write_profile(self, conversation: Conversation, *, connected: bool) -> None:
        wanted = self._wants_profile(conversation)
        if wanted == self._stored_profile_wanted:
            return
        self._stored_profile_wanted = wanted
        self._rows.touched.add(WorkKey("profile", kind_name(conversation.source)))
        if wanted:
            self._rows.profiles.append(
                (
                    kind_name(conversation.source),
                    connected,
                    self._n,
                    self._id,
                    conversation.channel_id,
                    topics.EVENTS.partition(self._id),
                )
            )
        else:
            self._rows.removed_profiles.append((kind_name(conversation.source), self._n))
