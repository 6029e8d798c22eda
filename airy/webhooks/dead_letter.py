"""Dead deliveries as records of the log, and as queue entries when they are replayed. Pure."""

from msgspec import Raw

from airy import topics
from airy.bus.record import Position, ProducerRecord
from airy.model.dead_delivery import DeadDelivery
from airy.queue.api import Job, QueueEntry, Shard

KEEP_MAX = 10_000  # records, the newest
KEEP_MS = 30 * topics.DAY_MS
REASON_CHARS_MAX = 1_024


def dead_delivery(job: Job, reason: str, now_ms: int) -> DeadDelivery:
    entry = job.entry
    origin = topics.parse_position_token(entry.position)
    return DeadDelivery(
        delivery_id=job.id,
        webhook_id=job.webhook_id,
        event_id=entry.event_id,
        kind=entry.kind,
        lane=entry.lane,
        topic=origin.topic,
        partition=origin.partition,
        at_ms=entry.at_ms,
        attempts=job.attempt,
        reason=reason[:REASON_CHARS_MAX],
        died_at_ms=now_ms,
        body=Raw(entry.body),
        trace=entry.trace,
    )


def replay_entry(dead: DeadDelivery, position: Position) -> tuple[Shard, QueueEntry]:
    """What is put into the queue to replay a dead delivery. `position` is one at which the log has the replay request:
    the position of the change itself does not survive a move of the log.
    """
    return Shard(dead.topic, dead.partition), QueueEntry(
        id=(0, 0),
        webhook_ids=(dead.webhook_id,),
        lane=dead.lane,
        event_id=dead.event_id,
        kind=dead.kind,
        body=bytes(dead.body),
        at_ms=dead.at_ms,
        position=topics.position_token(position),
        trace=dead.trace,
    )


def dead_letter_record(dead: DeadDelivery) -> ProducerRecord:
    return topics.DEAD_DELIVERIES.record(dead.id, dead, headers=(("id", dead.id.encode()),))


def tombstone(record_id: str) -> ProducerRecord:
    return topics.DEAD_DELIVERIES.record(record_id, None)
