"""Entities: the fold of their records into rows, and queries. A deleted entity leaves its last version behind."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import apsw
import msgspec
from msgspec.structs import replace

from airy import topics
from airy.bus.topic import Topic
from airy.model.fold_entity import ABSENT, EntityWrite, fold_entity
from airy.store.api import Page
from airy.store.sqlite.id_encoding import StoredId, decode_id, encode_client_id, encode_id
from airy.store.sqlite.schema import TOPIC_INDEX

E = TypeVar("E")

_encode = msgspec.json.Encoder().encode

_ROW = "SELECT version, body FROM entities WHERE topic = ? AND id = ?"
_PUT = "INSERT OR REPLACE INTO entities VALUES(?, ?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM entities WHERE topic = ? AND id = ?"
_DELETED_VERSION = "SELECT version FROM deleted_entities WHERE topic = ? AND id = ?"
_PUT_DELETED = "INSERT OR REPLACE INTO deleted_entities VALUES(?, ?, ?)"
_DROP_DELETED = "DELETE FROM deleted_entities WHERE topic = ? AND id = ?"
_PUT_WRITE = "INSERT OR IGNORE INTO entity_writes VALUES(?, ?, ?)"
_WRITE = "SELECT 1 FROM entity_writes WHERE topic = ? AND entity = ? AND write = ?"
_ONE = "SELECT body FROM entities WHERE topic = ? AND id = ?"
_FROM = "SELECT body FROM entities WHERE topic = ? AND id >= ? ORDER BY id LIMIT ?"
_BEFORE = "SELECT id FROM entities WHERE topic = ? AND id < ? ORDER BY id DESC LIMIT ?"
_COUNT = "SELECT count(*) FROM entities WHERE topic = ?"
_ALL = "SELECT body FROM entities WHERE topic = ? AND (?2 IS NULL OR source = ?2) AND connected >= ? ORDER BY id"

_DECODERS: Mapping[str, msgspec.json.Decoder[Any]] = {
    topic.name: msgspec.json.Decoder(topic.value_type) for topic in topics.FOLDED
}


class EntityFolded(NamedTuple):
    accepted: bool
    unchanged: bool = False  # accepted, and equal to the entity that was there
    version: int = ABSENT


REJECTED = EntityFolded(accepted=False)


def fold(
    connection: apsw.Connection,
    topic: str,
    entity_id: str,
    entity: Any,
    *,
    base: int | None,
    record_ms: int,
    write_id: str | None,
) -> EntityFolded:
    """Apply the record of an entity; `entity` None deletes it. `write_id` is stored if the write is accepted."""
    key = (TOPIC_INDEX[topic], encode_id(entity_id))
    row: Any = connection.execute(_ROW, key).fetchone()
    current, body = row or (ABSENT, None)
    last = current if row else connection.execute(_DELETED_VERSION, key).get or ABSENT
    if entity is None:
        version = fold_entity(EntityWrite(base, record_ms), current=current, last=last)
        if version is None:
            return REJECTED
        if row:
            connection.execute(_DELETE, key)
            connection.execute(_PUT_DELETED, (*key, version))
    else:
        if base is None and body == _encode(replace(entity, updated_at_ms=entity.updated_at_ms or current)):
            return EntityFolded(accepted=True, unchanged=True, version=current)
        version = fold_entity(EntityWrite(base, entity.updated_at_ms or record_ms), current=current, last=last)
        if version is None:
            return REJECTED
        connection.execute(_DROP_DELETED, key)
        source, connected = getattr(entity, "source", None), getattr(entity, "connected", True)
        connection.execute(_PUT, (*key, source, connected, version, _encode(replace(entity, updated_at_ms=version))))
    if base is not None and write_id is not None:
        connection.execute(_PUT_WRITE, (*key, encode_id(write_id)))
    return EntityFolded(accepted=True, version=version)


def accepted(connection: apsw.Connection, topic: Topic[E], entity_id: str, write_id: str) -> bool:
    key = (TOPIC_INDEX[topic.name], _stored_id(topic, entity_id), encode_id(write_id))
    return connection.execute(_WRITE, key).get is not None


def one(connection: apsw.Connection, topic: Topic[E], entity_id: str) -> E | None:
    body = connection.execute(_ONE, (TOPIC_INDEX[topic.name], _stored_id(topic, entity_id))).get
    return None if body is None else _decoder(topic).decode(body)


def listed(
    connection: apsw.Connection, topic: Topic[E], *, source: str | None = None, connected_only: bool = False
) -> list[E]:
    """All of them, by id. Not paged: entities are created by hand, so there are few."""
    decoder = _decoder(topic)
    rows = connection.execute(_ALL, (TOPIC_INDEX[topic.name], source, int(connected_only)))
    return [decoder.decode(body) for (body,) in rows]


def page(connection: apsw.Connection, topic: Topic[E], cursor: str | None, size: int) -> Page[E]:
    """By id, from the id `cursor` on."""
    index, start = TOPIC_INDEX[topic.name], encode_client_id((cursor or "").strip())
    decoder = _decoder(topic)
    found: list[Any] = [decoder.decode(body) for (body,) in connection.execute(_FROM, (index, start, size + 1))]
    before = [decode_id(each) for (each,) in connection.execute(_BEFORE, (index, start, size))]
    following = found[size].id if len(found) > size else None
    return Page(found[:size], before[-1] if before else None, following, connection.execute(_COUNT, (index,)).get)


def _stored_id(topic: Topic[E], entity_id: str) -> StoredId:
    """Of an id in a request. Those of custom sources are names, and case-sensitive."""
    return encode_id(entity_id) if topic.name == topics.CUSTOM_SOURCES.name else encode_client_id(entity_id)


def _decoder(topic: Topic[E]) -> msgspec.json.Decoder[E]:
    return _DECODERS[topic.name]
