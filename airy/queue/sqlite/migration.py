"""The dead deliveries that version 2 and earlier kept in the file of the embedded queue.

The dispatcher moves them to the log: it reads them here, publishes them, and deletes them here. The table is dropped
with its last row.
"""

from typing import Any

from msgspec import Raw

from airy import topics
from airy.model.dead_delivery import DeadDelivery
from airy.queue.sqlite.file import QueueFile

_TABLE_EXISTS = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'dead')"
_OLDEST = """
SELECT grave, job_id, webhook_id, event_id, lane, kind, body, attempts, reason, buried_at_ms, at_ms, position, trace
FROM dead ORDER BY grave LIMIT ?"""
_DELETE = "DELETE FROM dead WHERE grave <= ?"
_ANY_LEFT = "SELECT EXISTS (SELECT 1 FROM dead)"
_DROP = "DROP TABLE dead"


class LegacyDeadLetterTable:
    def __init__(self, file: QueueFile) -> None:
        self._file = file

    async def read_oldest(self, dead_max: int) -> list[tuple[int, DeadDelivery]]:
        """The oldest, each with its number for `delete_through`."""
        with self._file.reading() as database:
            if not database.execute(_TABLE_EXISTS).get:
                return []
            rows: Any = database.execute(_OLDEST, (dead_max,)).fetchall()
        return [(number, _dead_delivery(*row)) for number, *row in rows]

    async def delete_through(self, number: int) -> None:
        """Deletes that row and all before it."""
        with self._file.writing() as database:
            database.execute(_DELETE, (number,))
            if not database.execute(_ANY_LEFT).get:
                database.execute(_DROP)


def _dead_delivery(
    job_id: str,
    webhook_id: str,
    event_id: str,
    lane: str,
    kind: str,
    body: bytes,
    attempts: int,
    reason: str,
    died_at_ms: int,
    at_ms: int,
    position: str,
    trace: str,
) -> DeadDelivery:
    origin = topics.parse_position_token(position)
    return DeadDelivery(
        delivery_id=job_id,
        webhook_id=webhook_id,
        event_id=event_id,
        kind=kind,
        lane=lane,
        topic=origin.topic,
        partition=origin.partition,
        at_ms=at_ms,
        attempts=attempts,
        reason=reason,
        died_at_ms=died_at_ms,
        body=Raw(body),
        trace=trace,
    )
