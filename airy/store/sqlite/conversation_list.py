"""`conversations.list`: newest activity first, with keyset paging.

A filter is answered from an index if the index shows that few conversations can match. Otherwise the activity index is
scanned, newest first, in steps that let other tasks run in between, up to a cap. A page that the cap cut short has a
cursor to continue at.
"""

# ruff: noqa: S608 - only names and placeholders of our own are put into SQL; values are bound

from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

import anyio.lowlevel
import apsw
import msgspec

from airy.store import cursors
from airy.store.sqlite.filter_sql import CompiledFilter, Driver
from airy.store.sqlite.id_encoding import StoredId, decode_id, encode_id
from airy.store.sqlite.schema import LISTED

DRIVEN_ROWS_MAX = 1_500  # with more candidates, the activity index is scanned
COMBINED_DRIVERS_MAX = 8
COMBINED_ROWS_MAX = 50_000  # candidates of an index, to find those that several have in common
SCAN_ROWS_MAX = 200_000  # per scan
STEP_ROWS = 4_000  # about a millisecond
SCAN_ROWS_WITH_BODY_MAX = 100_000  # if the body of each row has to be decoded
STEP_ROWS_WITH_BODY = 100
SCAN_ROWS_SEARCHING_MAX = 4_000  # if the messages of each conversation are searched
STEP_ROWS_SEARCHING = 100  # for one phrase, proportionally less for several

COUNT_STEPS_MAX = 4  # in which matches are counted if neither an index nor the kept numbers have their number

ALL = CompiledFilter("1", ())
SortKey = tuple[int, StoredId]  # arrival of the newest message in ms, id
Row = tuple[int, int, StoredId]  # row number, arrival of the newest message in ms, id

TOP: SortKey = ((1 << 63) - 1, b"\xff" * 17)  # sorts before the newest

_ACTIVITY = f"conversations AS c INDEXED BY conversations_activity WHERE c.visible = {LISTED}"

Bindings = tuple[object, ...]


class ListedRows(NamedTuple):
    numbers: list[int]
    previous_cursor: str | None
    next_cursor: str | None
    total: int
    complete: bool  # False: `total` is the count up to the cap


class _ScanResult(NamedTuple):
    rows: list[Row]
    stopped: SortKey | None  # the key at which the cap stopped the scan; None: it was complete


def _sort_key(row: Row) -> SortKey:
    return row[1], row[2]


def _cursor(key: SortKey | None) -> str | None:
    return None if key is None else cursors.encode((key[0], decode_id(key[1])))


async def listed(
    connection: apsw.Connection,
    query: CompiledFilter,
    requested: cursors.CursorKey | int | None,
    size: int,
    total: int | None,
) -> ListedRows:
    """`total`: if it is known without counting. `connection` must be a snapshot: other tasks run in between."""
    cursor = (requested[0], encode_id(requested[1])) if isinstance(requested, tuple) else requested
    driven = _driven(connection, query)
    if driven is not None:
        return _page(driven, cursor, size)
    scan = _ActivityScan(connection, query)
    complete = True
    if total is None:
        total, complete = query.total if query.total is not None else await scan.count()
    skip = cursor if isinstance(cursor, int) else 0
    start = cursor if isinstance(cursor, tuple) else TOP
    if complete and skip >= total:
        return ListedRows([], _before(skip, size), None, total, complete)
    page = await scan.run(start, size + 1, skip=skip)
    total = total if complete else max(total, skip + len(page.rows))
    following = _sort_key(page.rows[size]) if len(page.rows) > size else page.stopped
    numbers = [row[0] for row in page.rows[:size]]
    if isinstance(cursor, int):
        next_cursor = str(skip + size) if len(page.rows) > size else _cursor(following)
        return ListedRows(numbers, _before(skip, size), next_cursor, total, complete)
    previous = await scan.run(start, size, forward=False) if cursor is not None else _ScanResult([], None)
    first = _sort_key(previous.rows[-1]) if previous.rows else None
    return ListedRows(numbers, _cursor(first), _cursor(following), total, complete)


def _before(skip: int, size: int) -> str | None:
    return str(max(0, skip - size)) if skip > 0 else None


def _limits(query: CompiledFilter) -> tuple[int, int]:
    """Rows of one step, and of a scan."""
    if query.phrases_searched:
        return max(1, STEP_ROWS_SEARCHING // query.phrases_searched), SCAN_ROWS_SEARCHING_MAX
    return (STEP_ROWS_WITH_BODY, SCAN_ROWS_WITH_BODY_MAX) if query.reads_body else (STEP_ROWS, SCAN_ROWS_MAX)


class _ActivityScan:
    """Scans the activity index in steps. A step is a range of keys, which SQLite reads in one statement."""

    def __init__(self, connection: apsw.Connection, query: CompiledFilter) -> None:
        self._connection = connection
        self._where = query.where
        self._bindings = query.bindings
        self._step, rows_max = _limits(query)
        self._steps_max = rows_max // self._step

    async def count(self) -> tuple[int, bool]:
        """The number of matches among the newest, and whether these are all conversations."""
        total = 0

        def add(source: str, bindings: Bindings) -> bool:
            nonlocal total
            sql = f"SELECT count(*) FROM {source} AND {self._where}"
            total += self._connection.execute(sql, (*bindings, *self._bindings)).get
            return False

        stopped = await self._walk(TOP, forward=True, add=add, steps_max=min(COUNT_STEPS_MAX, self._steps_max))
        return total, stopped is None

    async def run(self, start: SortKey, take: int, *, skip: int = 0, forward: bool = True) -> _ScanResult:
        """Up to `take` matches from `start` on, inclusive; backwards, those before it, nearest first."""
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
            sql = f"""SELECT c.n, c.activity_at, c.id FROM {matching}
              ORDER BY c.activity_at {order}, c.id {order} LIMIT ? OFFSET ?"""
            found: list[Any] = self._connection.execute(sql, (*bound, take - len(rows), skip)).fetchall()
            skip = 0
            rows.extend(found)
            return len(rows) >= take

        stopped = await self._walk(start, forward=forward, add=add, steps_max=self._steps_max)
        return _ScanResult(rows, stopped)

    async def _walk(
        self, start: SortKey, *, forward: bool, add: Callable[[str, Bindings], bool], steps_max: int
    ) -> SortKey | None:
        """Calls `add` per step from `start` until it returns True or no row is left. Returns the key at the cap."""
        near, far, order = ("<=", ">", "DESC") if forward else (">", "<=", "ASC")
        near_sql, far_sql = (f"(c.activity_at, c.id) {sign} (?, ?)" for sign in (near, far))
        edge_sql = f"""SELECT c.activity_at, c.id FROM {_ACTIVITY} AND {near_sql}
          ORDER BY c.activity_at {order}, c.id {order} LIMIT 1 OFFSET ?"""
        for _ in range(steps_max):
            edge = self._connection.execute(edge_sql, (*start, self._step)).get
            if edge is None:
                add(f"{_ACTIVITY} AND {near_sql}", start)
                return None
            if add(f"{_ACTIVITY} AND {near_sql} AND {far_sql}", (*start, *edge)):
                return None
            start = edge
            await anyio.lowlevel.checkpoint()
        return start


# --- from an index


def _driven(connection: apsw.Connection, query: CompiledFilter) -> list[Row] | None:
    """All matches, sorted, if an index has few candidates; else None."""
    fewest, driver = DRIVEN_ROWS_MAX + 1, None
    for each in query.drivers:
        count = _count(connection, each, fewest)
        if count < fewest:
            fewest, driver = count, each
    if driver is None:
        driver = _common_candidates(connection, query)
    if driver is None:
        return None
    numbers, bindings = driver.numbers
    sql = f"""SELECT c.n, c.activity_at, c.id FROM conversations AS c
      WHERE c.n IN ({numbers}) AND c.visible = {LISTED} AND {query.where}
      ORDER BY c.activity_at DESC, c.id DESC"""
    rows: list[Any] = connection.execute(sql, (*bindings, *query.bindings)).fetchall()
    return rows


def _common_candidates(connection: apsw.Connection, query: CompiledFilter) -> Driver | None:
    """The candidates that several indexes have in common, if they are few."""
    if len(query.drivers) < 2:
        return None
    first = query.drivers[:COMBINED_DRIVERS_MAX]
    counted = [(_count(connection, each, COMBINED_ROWS_MAX + 1), each) for each in first]
    few = sorted((each for each in counted if each[0] <= COMBINED_ROWS_MAX), key=itemgetter(0))
    if not few:
        return None
    fewest = few[0][1]
    others = [
        each.contain or (f"c.n IN ({each.numbers[0]})", each.numbers[1])
        for count, each in counted
        if each is not fewest and (each.contain or count <= COMBINED_ROWS_MAX)
    ]
    if not others:
        return None
    # Not INTERSECT: to merge in the order of rows, SQLite would scan the table of conversations.
    where = " AND ".join(sql for sql, _ in others)
    sql = f"WITH c(n) AS ({fewest.numbers[0]}) SELECT DISTINCT n FROM c WHERE {where} LIMIT ?"
    bindings = (*fewest.numbers[1], *(value for _, values in others for value in values), DRIVEN_ROWS_MAX + 1)
    common: list[int] = [n for (n,) in connection.execute(sql, bindings)]
    if len(common) > DRIVEN_ROWS_MAX:
        return None
    return Driver(("SELECT value FROM json_each(?)", (msgspec.json.encode(common).decode(),)))


def _count(connection: apsw.Connection, driver: Driver, rows_max: int) -> int:
    if driver.rows is not None:
        return driver.rows
    sql, bindings = driver.numbers
    found: int = connection.execute(f"SELECT count(*) FROM ({sql} LIMIT ?)", (*bindings, rows_max)).get
    return found


def _rank(key: SortKey) -> tuple[int, bool, bytes]:
    """The order of SQLite: text sorts below blobs."""
    at, id_ = key
    return (at, False, id_.encode()) if isinstance(id_, str) else (at, True, id_)


def _page(rows: list[Row], cursor: SortKey | int | None, size: int) -> ListedRows:
    total = len(rows)
    if isinstance(cursor, int):
        next_cursor = str(cursor + size) if cursor + size < total else None
        return ListedRows(
            [row[0] for row in rows[cursor : cursor + size]], _before(cursor, size), next_cursor, total, True
        )
    start = 0 if cursor is None else sum(_rank(_sort_key(row)) > _rank(cursor) for row in rows)
    end = start + size
    return ListedRows(
        [row[0] for row in rows[start:end]],
        _cursor(_sort_key(rows[max(0, start - size)])) if start > 0 else None,
        _cursor(_sort_key(rows[end])) if end < total else None,
        total,
        True,
    )
