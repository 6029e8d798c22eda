"""The digest of a SQLite store: every row that the log determines, without row numbers of the file.

Offsets of the log's backend are left out too, such as where a webhook's subscription begins, so a log that was
transferred to another backend keeps its digest.
"""

from collections.abc import AsyncIterator
from typing import Any

import anyio.lowlevel
import apsw
import msgspec
from msgspec.structs import replace

from airy import topics
from airy.model.entity import Webhook
from airy.store.digest import Digest
from airy.store.sqlite import outbox
from airy.store.sqlite.id_encoding import decode_id
from airy.store.sqlite.schema import TOPIC_INDEX

STEP_ROWS = 500

_WEBHOOKS = TOPIC_INDEX[topics.WEBHOOKS.name]
_decode = msgspec.json.Decoder(Webhook).decode
_encode = msgspec.json.Encoder().encode

# Kind of row: the number of leading id columns, and the query.
_QUERIES = {
    "conversation": (
        2,
        """
      SELECT id, channel, visible, has_unread, messages, contacted, has_contact, state, name, body
      FROM conversations""",
    ),
    "message": (
        2,
        """
      SELECT conversations.id, messages.id, deleted, open_at, messages.body
      FROM messages JOIN conversations ON conversations.n = conversation""",
    ),
    "provider_id": (
        1,
        """
      SELECT conversations.id, provider_id, message FROM provider_ids JOIN conversations ON n = conversation""",
    ),
    "alias": (
        2,
        """
      SELECT aliases.channel, conversations.id, aliases.name, since
      FROM aliases JOIN conversations ON n = conversation""",
    ),
    "seen": (2, "SELECT conversations.id, fact, accepted FROM seen JOIN conversations ON n = conversation"),
    "channel_activity": (1, "SELECT channel, inbound_at, outbound_at FROM channel_activity"),
    "tag": (2, "SELECT conversations.id, tag FROM conversation_tags JOIN conversations ON n = conversation"),
    "send": (
        0,
        """
      SELECT conversation_id, message_id, channel_id, source, "partition", sequence, state, due, since, head_due
      FROM sends""",
    ),
    "profile": (0, 'SELECT conversation_id, channel_id, source, connected, "partition" FROM profiles'),
    "entity": (1, "SELECT id, topic, source, connected, version, body FROM entities"),
    "deleted_entity": (1, "SELECT id, topic, version FROM deleted_entities"),
    "entity_write": (2, "SELECT entity, write, topic FROM entity_writes"),
    "contact": (2, "SELECT id, conversation, version, body, listed, unnamed, name FROM contacts"),
    "contact_link": (2, "SELECT conversation, contact FROM contact_links"),
    "contact_deletion": (1, "SELECT conversation, messages FROM contact_deletions"),
    "dead": (0, "SELECT id, delivery, died_at, replayed_at, body FROM dead_deliveries"),
    "counter": (0, "SELECT name, value FROM counters WHERE name <> 'changes'"),
}


async def digest_of(connection: apsw.Connection, *, changes: bool) -> str:
    """`connection` must be a snapshot: other tasks run in between."""
    digest = Digest()
    for kind, (ids, sql) in _QUERIES.items():
        async for row in _rows(connection, sql):
            rest = row[ids:]
            if kind == "entity" and row[1] == _WEBHOOKS:
                rest = (*rest[:-1], _without_offsets(rest[-1]))
            digest.add(kind, *(None if each is None else decode_id(each) for each in row[:ids]), *rest)
    if changes:
        async for (body,) in _rows(connection, "SELECT body FROM changes"):
            for change in outbox.changes_in(body):
                digest.add("change", change.id, change.body)
    return digest.text()


def _without_offsets(body: bytes) -> bytes:
    return _encode(replace(_decode(body), since={}))


async def _rows(connection: apsw.Connection, sql: str) -> AsyncIterator[tuple[Any, ...]]:
    for number, row in enumerate(connection.execute(sql), 1):
        yield row
        if number % STEP_ROWS == 0:
            await anyio.lowlevel.checkpoint()
