"""Deliveries that were given up: their rows, and what is asked of them. Each burial of a delivery is a row.

How a delivery stands, its newest row says: dead, or to be made again. All of this is bounded by whoever prunes.
"""

# ruff: noqa: S608 - only names and placeholders of our own are put into SQL; values are bound

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec

from airy.model.dead import DeadDelivery
from airy.store import cursors
from airy.store.api import Page
from airy.store.sqlite.key import asked, key

COUNTER = "webhooks_dead"
BURIALS_MAX = 100

_decode = msgspec.json.Decoder(DeadDelivery).decode

_PUT = "INSERT OR REPLACE INTO dead VALUES(?, ?, ?, ?, ?, ?)"
_DROP = "DELETE FROM dead WHERE id = ?"
_DELIVERY = "SELECT delivery FROM dead WHERE id = ?"
_NEWEST = "SELECT replayed_at FROM dead WHERE delivery = ? ORDER BY died_at DESC, id DESC LIMIT 1"
_BURIALS = f"SELECT body FROM dead WHERE delivery = ? ORDER BY died_at DESC, id DESC LIMIT {BURIALS_MAX}"
_IS_NEWEST = """
NOT EXISTS (SELECT 1 FROM dead AS newer WHERE newer.delivery = dead.delivery
  AND (newer.died_at, newer.id) > (dead.died_at, dead.id))"""
_LISTED = f"FROM dead WHERE {{which}} replayed_at IS NULL AND {_IS_NEWEST}"
_PAGE = f"SELECT body {_LISTED} AND (died_at, id) <= (?, ?) ORDER BY died_at DESC, id DESC LIMIT ?"
_BEFORE = f"SELECT died_at, id {_LISTED} AND (died_at, id) > (?, ?) ORDER BY died_at, id LIMIT ?"
_COUNT = f"SELECT count(*) {_LISTED}"
_REPLAYS = f"""
SELECT body FROM dead INDEXED BY dead_replays WHERE replayed_at IS NOT NULL AND (replayed_at, id) > (?, ?)
AND {_IS_NEWEST} ORDER BY replayed_at, id LIMIT ?"""
_BEYOND = "SELECT died_at, id FROM dead ORDER BY died_at DESC, id DESC LIMIT 1 OFFSET ?"
_OLD = """
SELECT id FROM dead WHERE died_at < ? OR (died_at, id) <= (?, ?) ORDER BY died_at, id LIMIT ?"""
_END = (2**62, "")


def put(connection: apsw.Connection, one: DeadDelivery, body: bytes) -> int:
    """Returns how many more deliveries are dead now."""
    before = _is_dead(connection, one.delivery_id)
    row = (one.id, one.delivery_id, key(one.webhook_id), one.died_at_ms, one.replayed_at_ms, body)
    connection.execute(_PUT, row)
    return _is_dead(connection, one.delivery_id) - before


def drop(connection: apsw.Connection, burial_id: str) -> int:
    """Returns how many more deliveries are dead now: none, or one less."""
    delivery_id = connection.execute(_DELIVERY, (burial_id,)).get
    if delivery_id is None:
        return 0
    before = _is_dead(connection, delivery_id)
    connection.execute(_DROP, (burial_id,))
    return _is_dead(connection, delivery_id) - before


def _is_dead(connection: apsw.Connection, delivery_id: str) -> bool:
    newest = connection.execute(_NEWEST, (delivery_id,)).fetchone()
    return newest is not None and newest[0] is None


def listed(connection: apsw.Connection, webhook_id: str | None, start: cursors.Place | None, size: int) -> Page:
    """Newest first. A place that is not there any more is as good as another."""
    which, of = ("", ()) if webhook_id is None else ("webhook = ? AND", (asked(webhook_id),))
    found = _bodies(connection.execute(_PAGE.format(which=which), (*of, *(start or _END), size + 1)))
    before: Any = connection.execute(_BEFORE.format(which=which), (*of, *(start or _END), size)).fetchall()
    total = connection.execute(_COUNT.format(which=which), of).get
    return Page(
        [*found[:size]],
        cursors.write(before[-1]) if before else None,
        cursors.write((found[size].died_at_ms, found[size].id)) if len(found) > size else None,
        total,
    )


def burials(connection: apsw.Connection, delivery_id: str) -> list[DeadDelivery]:
    return _bodies(connection.execute(_BURIALS, (delivery_id,)))


def replays(connection: apsw.Connection, after: tuple[int, str], replays_max: int) -> list[DeadDelivery]:
    return _bodies(connection.execute(_REPLAYS, (*after, replays_max)))


def old(connection: apsw.Connection, keep_max: int, before_ms: int, burials_max: int) -> list[str]:
    beyond: Any = connection.execute(_BEYOND, (keep_max,)).fetchone()
    rows: Any = connection.execute(_OLD, (before_ms, *(beyond or (-1, "")), burials_max))
    return [burial_id for (burial_id,) in rows]


def _bodies(rows: Iterable[Any]) -> list[DeadDelivery]:
    return [_decode(body) for (body,) in rows]
