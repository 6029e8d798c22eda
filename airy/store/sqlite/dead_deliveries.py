"""Dead deliveries: their rows and queries. Each death of a delivery is a row, and the newest is its state.

A delivery is dead, or its replay is requested. The number of rows is bounded by the dispatcher, which prunes them.
"""

# ruff: noqa: S608 - only names and placeholders of our own are put into SQL; values are bound

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec

from airy.model.dead_delivery import DeadDelivery
from airy.store import cursors
from airy.store.api import Page
from airy.store.sqlite.id_encoding import encode_client_id, encode_id

COUNTER = "dead_deliveries"
DEATHS_MAX = 100  # rows returned of one delivery

_decode = msgspec.json.Decoder(DeadDelivery).decode

_PUT = "INSERT OR REPLACE INTO dead_deliveries VALUES(?, ?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM dead_deliveries WHERE id = ?"
_DELIVERY = "SELECT delivery FROM dead_deliveries WHERE id = ?"
_NEWEST = "SELECT replayed_at FROM dead_deliveries WHERE delivery = ? ORDER BY died_at DESC, id DESC LIMIT 1"
_OF_DELIVERY = f"SELECT body FROM dead_deliveries WHERE delivery = ? ORDER BY died_at DESC, id DESC LIMIT {DEATHS_MAX}"
_IS_NEWEST = """
NOT EXISTS (SELECT 1 FROM dead_deliveries AS newer WHERE newer.delivery = dead_deliveries.delivery
  AND (newer.died_at, newer.id) > (dead_deliveries.died_at, dead_deliveries.id))"""
_LISTED = f"FROM dead_deliveries WHERE {{which}} replayed_at IS NULL AND {_IS_NEWEST}"
_PAGE = f"SELECT body {_LISTED} AND (died_at, id) <= (?, ?) ORDER BY died_at DESC, id DESC LIMIT ?"
_BEFORE = f"SELECT died_at, id {_LISTED} AND (died_at, id) > (?, ?) ORDER BY died_at, id LIMIT ?"
_COUNT = f"SELECT count(*) {_LISTED}"
_PENDING_REPLAYS = f"""
SELECT body FROM dead_deliveries INDEXED BY dead_deliveries_replays
WHERE replayed_at IS NOT NULL AND (replayed_at, id) > (?, ?) AND {_IS_NEWEST} ORDER BY replayed_at, id LIMIT ?"""
_BEYOND = "SELECT died_at, id FROM dead_deliveries ORDER BY died_at DESC, id DESC LIMIT 1 OFFSET ?"
_EXPIRED = """
SELECT id FROM dead_deliveries WHERE died_at < ? OR (died_at, id) <= (?, ?) ORDER BY died_at, id LIMIT ?"""
_END = (2**62, "")


def put(connection: apsw.Connection, one: DeadDelivery, body: bytes) -> int:
    """Returns by how much the number of dead deliveries grew: -1, 0 or 1."""
    before = _is_dead(connection, one.delivery_id)
    row = (one.id, one.delivery_id, encode_id(one.webhook_id), one.died_at_ms, one.replay_requested_at_ms, body)
    connection.execute(_PUT, row)
    return _is_dead(connection, one.delivery_id) - before


def delete(connection: apsw.Connection, record_id: str) -> int:
    """Returns by how much the number of dead deliveries grew: -1, 0 or 1."""
    delivery_id = connection.execute(_DELIVERY, (record_id,)).get
    if delivery_id is None:
        return 0
    before = _is_dead(connection, delivery_id)
    connection.execute(_DELETE, (record_id,))
    return _is_dead(connection, delivery_id) - before


def _is_dead(connection: apsw.Connection, delivery_id: str) -> bool:
    newest = connection.execute(_NEWEST, (delivery_id,)).fetchone()
    return newest is not None and newest[0] is None


def listed(
    connection: apsw.Connection, webhook_id: str | None, start: cursors.CursorKey | None, size: int
) -> Page[DeadDelivery]:
    """Newest first. The row of a cursor need not exist any more."""
    which, of = ("", ()) if webhook_id is None else ("webhook = ? AND", (encode_client_id(webhook_id),))
    found = _bodies(connection.execute(_PAGE.format(which=which), (*of, *(start or _END), size + 1)))
    before: Any = connection.execute(_BEFORE.format(which=which), (*of, *(start or _END), size)).fetchall()
    total = connection.execute(_COUNT.format(which=which), of).get
    return Page(
        found[:size],
        cursors.encode(before[-1]) if before else None,
        cursors.encode((found[size].died_at_ms, found[size].id)) if len(found) > size else None,
        total,
    )


def of_delivery(connection: apsw.Connection, delivery_id: str) -> list[DeadDelivery]:
    return _bodies(connection.execute(_OF_DELIVERY, (delivery_id,)))


def pending_replays(connection: apsw.Connection, after: tuple[int, str], replays_max: int) -> list[DeadDelivery]:
    return _bodies(connection.execute(_PENDING_REPLAYS, (*after, replays_max)))


def expired(connection: apsw.Connection, keep_max: int, before_ms: int, deliveries_max: int) -> list[str]:
    beyond: Any = connection.execute(_BEYOND, (keep_max,)).fetchone()
    rows: Any = connection.execute(_EXPIRED, (before_ms, *(beyond or (-1, "")), deliveries_max))
    return [record_id for (record_id,) in rows]


def _bodies(rows: Iterable[Any]) -> list[DeadDelivery]:
    return [_decode(body) for (body,) in rows]
