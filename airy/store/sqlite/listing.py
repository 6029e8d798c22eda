"""`conversations.list`: newest activity first, in pages that follow the key of a row and not its number.

A filter is answered from an index if one knows that only few conversations can match; else by a scan over the activity
index, newest first, in steps that let others run in between, up to a cap. A page that the cap cut short says where to
go on.
"""

# ruff: noqa: S608 - only names and placeholders of our own are put into SQL; values are bound

from collections.abc import Callable
from typing import Any, NamedTuple

import anyio.lowlevel
import apsw

from airy.store import cursors
from airy.store.sqlite.filters import Query
from airy.store.sqlite.key import Key, key, text_of
from airy.store.sqlite.schema import SHOWN

DRIVEN_ROWS_MAX = 4_000  # more candidates than this are scanned for instead
SCAN_ROWS_MAX = 200_000  # per pass
STEP_ROWS = 4_000  # about a millisecond
SCAN_ROWS_WITH_BODY_MAX = 100_000  # where each row has to be decoded
STEP_ROWS_WITH_BODY = 500

ALL = Query("1", (), reads_body=False, drivers=())
Place = tuple[int, Key]  # activity and id, the order of the list
Row = tuple[int, int, Key]  # number, activity, id

TOP: Place = ((1 << 63) - 1, b"\xff" * 17)  # before the newest

_ACTIVITY = f"conversations AS c INDEXED BY conversations_activity WHERE c.visible = {SHOWN}"

Bindings = tuple[object, ...]


class Listed(NamedTuple):
    numbers: list[int]
    previous_cursor: str | None
    next_cursor: str | None
    total: int
    complete: bool  # False: `total` is what was counted until the cap


class _Pass(NamedTuple):
    rows: list[Row]
    stopped: Place | None  # where the cap stopped it


def _place(row: Row) -> Place:
    return row[1], row[2]


def _written(place: Place | None) -> str | None:
    return None if place is None else cursors.write((place[0], text_of(place[1])))


async def listed(
    connection: apsw.Connection, query: Query, asked: cursors.Place | int | None, size: int, total: int | None
) -> Listed:
    """`total` where it is known without counting. What `connection` sees must not change while this waits."""
    cursor = (asked[0], key(asked[1])) if isinstance(asked, tuple) else asked
    driven = _driven(connection, query)
    if driven is not None:
        return _cut(driven, cursor, size)
    scan = _Scan(connection, query)
    complete = True
    if total is None:
        total, complete = await scan.count()
    skip = cursor if isinstance(cursor, int) else 0
    start = cursor if isinstance(cursor, tuple) else TOP
    if complete and skip >= total:
        return Listed([], _before(skip, size), None, total, complete)
    page = await scan.run(start, size + 1, skip=skip)
    following = _place(page.rows[size]) if len(page.rows) > size else page.stopped
    numbers = [row[0] for row in page.rows[:size]]
    if isinstance(cursor, int):
        next_cursor = str(skip + size) if len(page.rows) > size else _written(following)
        return Listed(numbers, _before(skip, size), next_cursor, total, complete)
    previous = await scan.run(start, size, forward=False) if cursor is not None else _Pass([], None)
    first = _place(previous.rows[-1]) if previous.rows else None
    return Listed(numbers, _written(first), _written(following), total, complete)


def _before(skip: int, size: int) -> str | None:
    return str(max(0, skip - size)) if skip > 0 else None


class _Scan:
    """Over the activity index in steps. A step is a range of keys, so that SQLite reads it as one."""

    def __init__(self, connection: apsw.Connection, query: Query) -> None:
        self._connection = connection
        self._where = query.where
        self._bindings = query.bindings
        self._step = STEP_ROWS_WITH_BODY if query.reads_body else STEP_ROWS
        self._steps_max = (SCAN_ROWS_WITH_BODY_MAX if query.reads_body else SCAN_ROWS_MAX) // self._step

    async def count(self) -> tuple[int, bool]:
        """How many match, and whether that is all of them."""
        total = 0

        def add(source: str, bindings: Bindings) -> bool:
            nonlocal total
            sql = f"SELECT count(*) FROM {source} AND {self._where}"
            total += self._connection.execute(sql, (*bindings, *self._bindings)).get
            return False

        stopped = await self._walk(TOP, forward=True, add=add)
        return total, stopped is None

    async def run(self, start: Place, take: int, *, skip: int = 0, forward: bool = True) -> _Pass:
        """Matches from `start` on, itself included; or, backwards, those before it, nearest first."""
        rows: list[Row] = []
        order = "DESC" if forward else "ASC"

        def add(source: str, bindings: Bindings) -> bool:
            nonlocal skip
            matching, bound = f"{source} AND {self._where}", (*bindings, *self._bindings)
            if skip:
                there: int = self._connection.execute(f"SELECT count(*) FROM {matching}", bound).get
                if there <= skip:
                    skip -= there
                    return False
            sql = f"""SELECT c.n, c.last_message_at, c.id FROM {matching}
              ORDER BY c.last_message_at {order}, c.id {order} LIMIT ? OFFSET ?"""
            found: list[Any] = self._connection.execute(sql, (*bound, take - len(rows), skip)).fetchall()
            skip = 0
            rows.extend(found)
            return len(rows) >= take

        stopped = await self._walk(start, forward=forward, add=add)
        return _Pass(rows, stopped)

    async def _walk(self, start: Place, *, forward: bool, add: Callable[[str, Bindings], bool]) -> Place | None:
        """Step by step from `start`, until `add` has enough, nothing is left, or the cap is reached: then, where."""
        near, far, order = ("<=", ">", "DESC") if forward else (">", "<=", "ASC")
        near_sql, far_sql = (f"(c.last_message_at, c.id) {sign} (?, ?)" for sign in (near, far))
        edge_sql = f"""SELECT c.last_message_at, c.id FROM {_ACTIVITY} AND {near_sql}
          ORDER BY c.last_message_at {order}, c.id {order} LIMIT 1 OFFSET ?"""
        for _ in range(self._steps_max):
            edge = self._connection.execute(edge_sql, (*start, self._step)).get
            if edge is None:
                add(f"{_ACTIVITY} AND {near_sql}", start)
                return None
            if add(f"{_ACTIVITY} AND {near_sql} AND {far_sql}", (*start, *edge)):
                return None
            start = edge
            await anyio.lowlevel.checkpoint()
        return start


# --- few candidates


def _driven(connection: apsw.Connection, query: Query) -> list[Row] | None:
    """All matches, sorted, if an index says that there are few candidates."""
    fewest, driver = DRIVEN_ROWS_MAX + 1, None
    for sql, bindings in query.drivers:
        count = connection.execute(f"SELECT count(*) FROM ({sql} LIMIT ?)", (*bindings, fewest)).get
        if count < fewest:
            fewest, driver = count, (sql, bindings)
    if driver is None:
        return None
    sql = f"""SELECT c.n, c.last_message_at, c.id FROM conversations AS c
      WHERE c.n IN ({driver[0]}) AND c.visible = {SHOWN} AND {query.where} ORDER BY c.last_message_at DESC, c.id DESC"""
    rows: list[Any] = connection.execute(sql, (*driver[1], *query.bindings)).fetchall()
    return rows


def _rank(place: Place) -> tuple[int, bool, bytes]:
    """SQLite's order: text below blobs."""
    at, id_ = place
    return (at, False, id_.encode()) if isinstance(id_, str) else (at, True, id_)


def _cut(rows: list[Row], cursor: Place | int | None, size: int) -> Listed:
    total = len(rows)
    if isinstance(cursor, int):
        next_cursor = str(cursor + size) if cursor + size < total else None
        return Listed([row[0] for row in rows[cursor : cursor + size]], _before(cursor, size), next_cursor, total, True)
    start = 0 if cursor is None else sum(_rank(_place(row)) > _rank(cursor) for row in rows)
    end = start + size
    return Listed(
        [row[0] for row in rows[start:end]],
        _written(_place(rows[max(0, start - size)])) if start > 0 else None,
        _written(_place(rows[end])) if end < total else None,
        total,
        True,
    )
