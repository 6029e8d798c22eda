"""The one format of dead letters: a record of `dlq.<topic>` that keeps everything of the record it stands for.

Key, value and headers are those of the original record. Headers with the prefix `dlq-` say where it was, why it could
not be processed, how often that was tried, and since when it fails. A replay appends the original record again with
`dlq-` headers of its own, so a dead letter of the replay continues the count. A resolution is a record with the same
key that says what became of a dead letter, by which caller and, if it was discarded, for what reason; earlier versions
wrote neither.

Records that fail in several processes, or again after a crash, become several dead letters with one id. Letters of
versions before 0.2 have headers without the prefix, or only some of them; they decode all the same.
"""

from typing import Any, Final, Literal

from msgspec import Struct

from airy.bus.record import Headers, Position, ProducerRecord, Record
from airy.bus.topic import Topic, partition_of

PREFIX: Final = "dlq-"
REASON_BYTES_MAX: Final = 1_024
TOPIC_PREFIX: Final = "dlq."

Outcome = Literal["replayed", "discarded"]
_OUTCOMES: Final[dict[bytes, Outcome]] = {b"replayed": "replayed", b"discarded": "discarded"}
_UNPREFIXED = ("topic", "partition", "offset", "reason", "attempts")


class StoredDeadLetter(Struct, frozen=True, kw_only=True):
    id: str  # `<topic>/<partition>/<offset>` of the original record
    position: Position  # of the original record
    key: bytes
    value: bytes | None
    headers: Headers  # of the original record
    timestamp_ms: int  # of the original record
    reason: str
    attempts: int  # including those before a replay
    first_seen_ms: int  # when the record was dead-lettered first
    dead_lettered_at_ms: int
    stored_at: Position  # of the dead letter


class Resolution(Struct, frozen=True, kw_only=True):
    """What became of a dead letter. The first one counts."""

    id: str
    outcome: Outcome
    at_ms: int
    actor: str = ""  # id of the caller
    reason: str = ""  # of a discard


def make_dead_letter(topic: Topic[bytes], record: Record, reason: str, attempts: int) -> ProducerRecord:
    """The record for the dead letter topic of `record`."""
    carried = _prefixed(record.headers)
    headers = (
        *_own(record.headers),
        ("dlq-topic", record.topic.encode()),
        ("dlq-partition", b"%d" % record.partition),
        ("dlq-offset", b"%d" % record.offset),
        ("dlq-timestamp-ms", b"%d" % record.timestamp_ms),
        ("dlq-reason", _cut(reason)),
        ("dlq-attempts", b"%d" % (_number(carried, "attempts", 0) + attempts)),
        *((("dlq-first-seen-ms", carried["first-seen-ms"]),) if "first-seen-ms" in carried else ()),
    )
    return ProducerRecord(topic.name, partition_of(record.key, topic.partitions), record.key, record.value, headers)


def replay_record(letter: StoredDeadLetter, topic: Topic[Any], now_ms: int) -> ProducerRecord:
    """The original record again, for its topic. It keeps its time unless retention could soon delete it for that."""
    kept = topic.retention_ms is None or now_ms - letter.timestamp_ms < topic.retention_ms // 2
    headers = (
        *letter.headers,
        ("dlq-id", letter.id.encode()),
        ("dlq-attempts", b"%d" % letter.attempts),
        ("dlq-first-seen-ms", b"%d" % letter.first_seen_ms),
    )
    partition = partition_of(letter.key, topic.partitions)
    return ProducerRecord(
        topic.name, partition, letter.key, letter.value, headers, letter.timestamp_ms if kept else None
    )


def resolution_record(
    letter: StoredDeadLetter, outcome: Outcome, *, actor: str = "", reason: str = ""
) -> ProducerRecord:
    """Goes to the partition of the dead letter, behind it."""
    given = (("dlq-resolved-by", actor), ("dlq-resolution-reason", reason))
    headers = (
        ("dlq-resolves", letter.id.encode()),
        ("dlq-outcome", outcome.encode()),
        *((name, _cut(value)) for name, value in given if value),
    )
    at = letter.stored_at
    return ProducerRecord(at.topic, at.partition, letter.key, b"", headers)


def decode(record: Record) -> StoredDeadLetter | Resolution:
    """A record of a dead letter topic. Any record decodes: what is missing is derived from where the record is."""
    found = _prefixed(record.headers)
    outcome = _OUTCOMES.get(found.get("outcome", b""))
    if "resolves" in found and outcome is not None:
        return Resolution(
            id=found["resolves"].decode("utf-8", "replace"),
            outcome=outcome,
            at_ms=record.timestamp_ms,
            actor=found.get("resolved-by", b"").decode("utf-8", "replace"),
            reason=found.get("resolution-reason", b"").decode("utf-8", "replace"),
        )
    own = _own(record.headers)
    if "topic" not in found:
        found = {name: value for name, value in record.headers if name in _UNPREFIXED}
        own = tuple(header for header in record.headers if header[0] not in _UNPREFIXED)
    position = Position(
        found.get("topic", record.topic.removeprefix(TOPIC_PREFIX).encode()).decode("utf-8", "replace"),
        _number(found, "partition", record.partition),
        _number(found, "offset", record.offset),
    )
    return StoredDeadLetter(
        id="/".join(map(str, position)),
        position=position,
        key=record.key,
        value=record.value,
        headers=own,
        timestamp_ms=_number(found, "timestamp-ms", record.timestamp_ms),
        reason=found.get("reason", b"unknown").decode("utf-8", "replace"),
        attempts=_number(found, "attempts", 1),
        first_seen_ms=_number(found, "first-seen-ms", record.timestamp_ms),
        dead_lettered_at_ms=record.timestamp_ms,
        stored_at=record.position,
    )


def _prefixed(headers: Headers) -> dict[str, bytes]:
    return {name.removeprefix(PREFIX): value for name, value in headers if name.startswith(PREFIX)}


def _own(headers: Headers) -> Headers:
    return tuple(header for header in headers if not header[0].startswith(PREFIX))


def _number(found: dict[str, bytes], name: str, default: int) -> int:
    value = found.get(name, b"")
    return int(value) if value.isdigit() and len(value) <= 19 else default


def _cut(reason: str) -> bytes:
    """At most `REASON_BYTES_MAX`, and still UTF-8."""
    return reason.encode("utf-8", "replace")[:REASON_BYTES_MAX].decode("utf-8", "ignore").encode()
