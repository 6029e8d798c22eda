"""What the file of an embedded queue holds from the time when it kept buried deliveries itself (version 2 and before).

They move to the log: read here, written there, forgotten here. Once there are none left, so is their table.
"""

from typing import Any

from msgspec import Raw

from airy import topics
from airy.actors.webhooks.queue_file import QueueFile
from airy.model.dead import DeadDelivery

_THERE = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'dead')"
_OLDEST = """
SELECT grave, job_id, webhook_id, event_id, lane, kind, body, attempts, reason, buried_at_ms, at_ms, position, trace
FROM dead ORDER BY grave LIMIT ?"""
_FORGET = "DELETE FROM dead WHERE grave <= ?"
_LEFT = "SELECT EXISTS (SELECT 1 FROM dead)"
_GONE = "DROP TABLE dead"


class QueueHeritage:
    def __init__(self, file: QueueFile) -> None:
        self._file = file

    async def dead_of_before(self, dead_max: int) -> list[tuple[int, DeadDelivery]]:
        """The oldest, each by the number it is forgotten by."""
        with self._file.reading() as database:
            if not database.execute(_THERE).get:
                return []
            rows: Any = database.execute(_OLDEST, (dead_max,)).fetchall()
        return [(number, _dead(*row)) for number, *row in rows]

    async def forget_dead_of_before(self, number: int) -> None:
        """That one and all before it."""
        with self._file.writing() as database:
            database.execute(_FORGET, (number,))
            if not database.execute(_LEFT).get:
                database.execute(_GONE)


def _dead(
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
    where = topics.parse_position_token(position)
    return DeadDelivery(
        delivery_id=job_id,
        webhook_id=webhook_id,
        event_id=event_id,
        kind=kind,
        lane=lane,
        topic=where.topic,
        partition=where.partition,
        at_ms=at_ms,
        attempts=attempts,
        reason=reason,
        died_at_ms=died_at_ms,
        body=Raw(body),
        trace=trace,
    )
