"""Queries of contacts: one by id or conversation, and the list by name with keyset paging over an index."""

# ruff: noqa: S608 - only names and placeholders of our own are put into SQL; values are bound

from typing import Any

import apsw

from airy.model import ids
from airy.model.contact_view import ContactView
from airy.store import cursors
from airy.store.api import Page
from airy.store.cursors import ContactKey
from airy.store.sqlite.contact_rows import ContactRow, ContactRows
from airy.store.sqlite.id_encoding import decode_id, encode_client_id, encode_id

_CONTACT_OF = """
SELECT contact FROM contact_links WHERE conversation = ?1
UNION ALL SELECT id FROM contacts WHERE id = ?2 AND conversation = ?1"""
_COLUMNS = "id, version, body, conversation, listed, unnamed, name"
_LISTED = "contacts INDEXED BY contacts_name WHERE listed = 1"
_FROM = f"""
SELECT {_COLUMNS} FROM {_LISTED} AND (unnamed, name, id) >= (?, ?, ?) ORDER BY unnamed, name, id LIMIT ?"""
_BEFORE = f"""
SELECT unnamed, name, id FROM {_LISTED} AND (unnamed, name, id) < (?, ?, ?)
ORDER BY unnamed DESC, name DESC, id DESC LIMIT ?"""
_FIRST: ContactKey = (0, "", "")


def one(connection: apsw.Connection, contact_id: str) -> ContactView | None:
    rows, stored_id = ContactRows(connection, {}), encode_client_id(contact_id)
    return rows.view(stored_id, rows.row(stored_id))


def of_conversation(connection: apsw.Connection, conversation_id: str) -> ContactView | None:
    conversation = encode_client_id(conversation_id)
    own = encode_id(ids.contact_id(decode_id(conversation)))
    found = connection.execute(_CONTACT_OF, (conversation, own)).get
    return None if found is None else one(connection, decode_id(found))


def version(connection: apsw.Connection, contact_id: str) -> int:
    return ContactRows(connection, {}).version(contact_id.lower())


def listed(connection: apsw.Connection, start: ContactKey | None, size: int, total: int) -> Page[ContactView]:
    unnamed, name, contact_id = start or _FIRST
    key = (unnamed, name, encode_id(contact_id))
    found: list[Any] = connection.execute(_FROM, (*key, size + 1)).fetchall()
    rows = ContactRows(connection, {})
    views = [rows.view(row[0], ContactRow(*row[1:])) for row in found[:size]]
    before: list[Any] = connection.execute(_BEFORE, (*key, size)).fetchall() if start else []
    return Page(
        [view for view in views if view is not None],
        _cursor(before[-1]) if before else None,
        _cursor((found[size][5], found[size][6], found[size][0])) if len(found) > size else None,
        total,
    )


def _cursor(key: tuple[Any, ...]) -> str:
    unnamed, name, contact_id = key
    return cursors.encode_contact((unnamed, name, decode_id(contact_id)))
