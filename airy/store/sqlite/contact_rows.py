"""The rows of contacts: the fold of their records, and what follows from conversations.

A row exists for every contact that was ever written and for every conversation that has a contact of its own. It has
the sort key of the list, which depends on the names of conversations, so rows are refreshed when one of them gets its
first message, another name, or a message after its contact was deleted. The result depends neither on batches nor on
the order in which partitions are read.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import apsw
import msgspec
from msgspec.structs import replace

from airy import topics
from airy.model import contact as contacts
from airy.model import ids
from airy.model.contact import Contact, ContactsWritten
from airy.model.contact_view import ContactView, contact_view, has_own_contact
from airy.model.conversation import Conversation
from airy.model.fold_contacts import accepts, version_after
from airy.store.cursors import contact_key
from airy.store.sqlite.error_translation import row_decoder
from airy.store.sqlite.id_encoding import StoredId, decode_id, encode_id
from airy.store.sqlite.schema import TOPIC_INDEX

COUNTER = "contacts"

_encode = msgspec.json.Encoder().encode
_decode = row_decoder(Contact)
_decode_conversation = row_decoder(Conversation)

_TOPIC = TOPIC_INDEX[topics.CONTACTS.name]
_ROW = "SELECT version, body, conversation, listed, unnamed, name FROM contacts WHERE id = ?"
_PUT_ROW = "INSERT OR REPLACE INTO contacts VALUES(?, ?, ?, ?, ?, ?, ?)"
_DELETE_ROW = "DELETE FROM contacts WHERE id = ?"
_LINK = "SELECT contact FROM contact_links WHERE conversation = ?"
_PUT_LINK = "INSERT INTO contact_links VALUES(?, ?)"
_DELETE_LINK = "DELETE FROM contact_links WHERE conversation = ?"
_COVERED = "SELECT messages FROM contact_deletions WHERE conversation = ?"
_PUT_COVERED = """
INSERT INTO contact_deletions VALUES(?, ?) ON CONFLICT(conversation) DO UPDATE SET
  messages = max(messages, excluded.messages)"""
_DELETE_COVERED = "DELETE FROM contact_deletions WHERE conversation = ?"
_CONVERSATION = "SELECT body FROM conversations WHERE id = ?"
_SET_HAS_CONTACT = "UPDATE conversations SET has_contact = ?1 WHERE id = ?2 AND has_contact <> ?1"
_PUT_WRITE = "INSERT OR IGNORE INTO entity_writes VALUES(?, ?, ?)"


class ContactRow(NamedTuple):
    version: int = 0
    body: bytes | None = None
    conversation: StoredId | None = None  # that belongs to it by itself
    listed: int = 0
    unnamed: int = 0
    name: str = ""


ABSENT = ContactRow()


class ContactRows:
    """Implements `ContactState`. Reads and writes within the transaction of `connection`; `counts` are the store's."""

    def __init__(self, connection: apsw.Connection, counts: dict[str, int]) -> None:
        self._execute = connection.cursor().execute
        self._counts = counts

    # --- ContactState

    def version(self, contact_id: str) -> int:
        return self.row(encode_id(contact_id)).version

    def linked_by(self, conversation_id: str) -> str | None:
        found = self._execute(_LINK, (encode_id(conversation_id),)).get
        return None if found is None else decode_id(found)

    # --- writing

    def fold(self, written: ContactsWritten) -> None:
        if not accepts(written, self):
            return
        conversations: set[str] = set()
        for write in written.writes:
            linked = _links(self.row(encode_id(write.id)).body)
            conversations.update(linked)
            for name in linked:
                self._execute(_DELETE_LINK, (encode_id(name),))
        for write in written.writes:
            stored_id, version = encode_id(write.id), version_after(written, write)
            body = None if write.contact is None else _encode(replace(write.contact, updated_at_ms=version))
            before = self.row(stored_id)
            self._put(stored_id, before, before._replace(version=version, body=body))
            for name in write.contact.conversations if write.contact else ():
                self._execute(_PUT_LINK, (encode_id(name), stored_id))
                self._execute(_DELETE_COVERED, (encode_id(name),))
                conversations.add(name)
        for name, messages in written.covered.items():
            if self.linked_by(name) is None:
                self._execute(_PUT_COVERED, (encode_id(name), messages))
                conversations.add(name)
        for name in conversations:
            conversation = self.conversation(name)
            if conversation is not None:
                self.refresh(conversation)
        self._execute(_PUT_WRITE, (_TOPIC, encode_id(contacts.KEY), encode_id(written.id)))

    def refresh(self, conversation: Conversation) -> None:
        """Bring the rows up to date with a conversation that has messages: whether it has a contact of its own, and its
        name.
        """
        conversation_id, known = encode_id(conversation.id), {conversation.id: conversation}
        linked = self._execute(_LINK, (conversation_id,)).get
        covered = self._execute(_COVERED, (conversation_id,)).get or 0
        has_own = has_own_contact(conversation, linked, covered)
        own_id = encode_id(ids.contact_id(conversation.id))
        own = self.row(own_id)
        self._put(own_id, own, own._replace(conversation=conversation_id if has_own else None), known)
        if linked is not None:
            row = self.row(linked)
            self._put(linked, row, row, known)
        self._execute(_SET_HAS_CONTACT, (has_own or linked is not None, conversation_id))

    def _put(
        self, contact_id: StoredId, before: ContactRow, row: ContactRow, known: Mapping[str, Conversation] = {}
    ) -> None:
        """Write `row`, with what follows from its first columns, if it differs from `before`."""
        view = self.view(contact_id, row, known)
        unnamed, name = (0, "") if view is None else contact_key(view)[:2]
        row = row._replace(listed=int(view is not None), unnamed=unnamed, name=name)
        if row == before:
            return
        self._counts[COUNTER] += row.listed - before.listed
        if row == ABSENT:
            self._execute(_DELETE_ROW, (contact_id,))
        else:
            self._execute(_PUT_ROW, (contact_id, *row))

    # --- reading

    def row(self, contact_id: StoredId) -> ContactRow:
        found: Any = self._execute(_ROW, (contact_id,)).fetchone()
        return ABSENT if found is None else ContactRow(*found)

    def view(self, contact_id: StoredId, row: ContactRow, known: Mapping[str, Conversation] = {}) -> ContactView | None:
        """`known`: conversations that need not be read."""

        def conversation_of(name: str) -> Conversation | None:
            return known.get(name) or self.conversation(name)

        own = None if row.conversation is None else conversation_of(decode_id(row.conversation))
        written = None if row.body is None else _decode(row.body)
        return contact_view(decode_id(contact_id), written, row.version, own, conversation_of)

    def conversation(self, conversation_id: str) -> Conversation | None:
        """A conversation with messages."""
        body = self._execute(_CONVERSATION, (encode_id(conversation_id),)).get
        conversation = None if body is None else _decode_conversation(body)
        return conversation if conversation is not None and conversation.visible else None


def _links(body: bytes | None) -> dict[str, str]:
    return {} if body is None else _decode(body).conversations
