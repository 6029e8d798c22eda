"""The hops of the records that changed a message, and of the webhooks they were made from. Pure."""

from collections.abc import Sequence

from msgspec.structs import replace

from airy import topics
from airy.bus.origin import origin_in
from airy.bus.record import Position, Record
from airy.commands.message_traces.hop import Hop
from airy.commands.message_traces.record_reader import ReadRecords
from airy.commands.record_redaction import Mask, shown_record
from airy.errors import Refused
from airy.model.fact import KINDS, Fact
from airy.trace import HEADER, trace_id_of

REQUEST_ID = "request-id"
WEBHOOK_RECEIVED = "webhook.received"


def record_hops(read: ReadRecords, positions: Sequence[Position], mask: Mask) -> list[Hop]:
    """For each of the positions, in log order, the webhook that led to it, once, and the fact."""
    hops: list[Hop] = []
    shown: set[Position] = set()
    for position in positions:
        record = read.records.get(position)
        if record is None:
            hops.append(replace(_missing("fact", read, position), caused_by=position.offset))
            continue
        origin = origin_in(record.headers)
        if origin is not None and origin not in shown:
            shown.add(origin)
            hops.append(_webhook(read, origin, record, mask))
        hops.append(_fact(record, mask))
    return hops


def fact_of(record: Record) -> Fact | None:
    """None for a record that this version cannot decode."""
    try:
        return topics.EVENTS.decode(record)
    except Refused:
        return None


def _webhook(read: ReadRecords, origin: Position, caused: Record, mask: Mask) -> Hop:
    record = read.records.get(origin)
    if record is None:
        return replace(_missing(WEBHOOK_RECEIVED, read, origin), at_ms=_arrived_at_ms(fact_of(caused)))
    if record.header(REQUEST_ID) != caused.header(REQUEST_ID):  # of a log that was imported: offsets differ there
        return Hop(kind=WEBHOOK_RECEIVED, outcome="unreadable", at_ms=_arrived_at_ms(fact_of(caused)))
    return Hop(
        kind=WEBHOOK_RECEIVED,
        outcome="stored",
        at_ms=record.timestamp_ms,
        position=origin,
        detail=record_detail(record, mask),
    )


def _arrived_at_ms(fact: Fact | None) -> int | None:
    """When the webhook arrived, where the fact says so."""
    arrived: int | None = getattr(fact, "arrived_at_ms", None)
    return arrived


def _fact(record: Record, mask: Mask) -> Hop:
    fact = fact_of(record)
    return Hop(
        kind="fact" if fact is None else KINDS[type(fact)][0],
        outcome="unreadable" if fact is None else "stored",
        at_ms=record.timestamp_ms,
        position=record.position,
        detail=record_detail(record, mask),
        caused_by=record.offset,
    )


def _missing(kind: str, read: ReadRecords, position: Position) -> Hop:
    expired = position in read.beyond_retention
    return Hop(kind=kind, outcome="beyond_retention" if expired else "unreadable", position=position)


def record_detail(record: Record, mask: Mask) -> dict[str, object]:
    shown = shown_record(record, mask)
    return {
        "key": shown.key,
        "headers": [{"name": name, "value": value} for name, value in shown.headers],
        "trace_id": trace_id_of(record.header(HEADER) or "") or None,
        "size_bytes": shown.size_bytes,
        "encoding": shown.encoding,
        "value": shown.value,
        "cut": shown.cut,
        "masked": shown.masked,
    }
