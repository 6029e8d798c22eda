"""The hops of the records that changed a message, and of the webhooks they were made from. Pure."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw

from airy import topics
from airy.bus.origin import origin_in
from airy.bus.record import Position, Record
from airy.commands.message_traces.hop import Hop
from airy.commands.message_traces.record_reader import ReadRecords
from airy.errors import Refused
from airy.model.fact import KINDS, Fact
from airy.trace import HEADER, trace_id_of

VALUE_BYTES_MAX = 65_536  # of a record's value in a hop
REQUEST_ID = "request-id"

WEBHOOK_RECEIVED = "webhook.received"


def record_hops(read: ReadRecords, positions: Sequence[Position]) -> list[Hop]:
    """For each of the positions, in log order, the webhook that led to it, once, and the fact."""
    hops: list[Hop] = []
    shown: set[Position] = set()
    for position in positions:
        record = read.records.get(position)
        if record is None:
            hops.append(_missing("fact", read, position))
            continue
        origin = origin_in(record.headers)
        if origin is not None and origin not in shown:
            shown.add(origin)
            hops.append(_webhook(read, origin, record))
        hops.append(_fact(record))
    return hops


def fact_of(record: Record) -> Fact | None:
    """None for a record that this version cannot decode."""
    try:
        return topics.EVENTS.decode(record)
    except Refused:
        return None


def _webhook(read: ReadRecords, origin: Position, caused: Record) -> Hop:
    record = read.records.get(origin)
    if record is None:
        hop = _missing(WEBHOOK_RECEIVED, read, origin)
        return msgspec.structs.replace(hop, at_ms=_arrived_at_ms(fact_of(caused)))
    if record.header(REQUEST_ID) != caused.header(REQUEST_ID):  # of a log that was imported, offsets differ
        return Hop(kind=WEBHOOK_RECEIVED, outcome="unreadable", at_ms=_arrived_at_ms(fact_of(caused)))
    return Hop(
        kind=WEBHOOK_RECEIVED, outcome="stored", at_ms=record.timestamp_ms, position=origin, detail=_detail(record)
    )


def _arrived_at_ms(fact: Fact | None) -> int | None:
    """When the webhook arrived, where the fact says so."""
    arrived: int | None = getattr(fact, "arrived_at_ms", None)
    return arrived


def _fact(record: Record) -> Hop:
    fact = fact_of(record)
    return Hop(
        kind="fact" if fact is None else KINDS[type(fact)][0],
        outcome="unreadable" if fact is None else "stored",
        at_ms=record.timestamp_ms,
        position=record.position,
        detail=_detail(record),
    )


def _missing(kind: str, read: ReadRecords, position: Position) -> Hop:
    expired = position in read.beyond_retention
    return Hop(kind=kind, outcome="beyond_retention" if expired else "unreadable", position=position)


def _detail(record: Record) -> dict[str, object]:
    headers: Mapping[str, str] = {name: value.decode("utf-8", "backslashreplace") for name, value in record.headers}
    value = record.value or b""
    return {
        "key": record.key.decode("utf-8", "backslashreplace"),
        "headers": headers,
        "trace_id": trace_id_of(headers.get(HEADER, "")) or None,
        "size_bytes": len(value),
        "value": _json(value) if len(value) <= VALUE_BYTES_MAX else None,
    }


def _json(value: bytes) -> object:
    """As it is, if it is JSON; else as text."""
    try:
        msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return value.decode("utf-8", "backslashreplace")
    return Raw(value)
