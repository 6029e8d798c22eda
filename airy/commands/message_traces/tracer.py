"""Traces one message: finds it, reads the records that changed it, and lists the hops."""

import anyio

from airy import topics
from airy.bus.api import Bus
from airy.bus.origin import origin_in
from airy.bus.record import Position
from airy.commands.message_traces.fold_hop import ReadFleet, fold_hop
from airy.commands.message_traces.hop import Hop, MessageTrace
from airy.commands.message_traces.message_finder import TraceReference, find_message
from airy.commands.message_traces.record_hops import record_hops
from airy.commands.message_traces.record_reader import ReadRecords, read_records
from airy.store.api import FoldedMessage, StoreQueries

TRACES_AT_ONCE_MAX = 4  # bounds the readers of the log, however many callers ask


class MessageTracer:
    def __init__(self, bus: Bus, store: StoreQueries, read_fleet: ReadFleet) -> None:
        self._bus = bus
        self._store = store
        self._read_fleet = read_fleet
        self._at_once = anyio.Semaphore(TRACES_AT_ONCE_MAX)

    async def trace(self, reference: TraceReference) -> MessageTrace:
        """Raises `Refused`, `NotFound`, `AmbiguousMessage`, `Unavailable`."""
        found = await find_message(self._store, reference)
        async with self._at_once:
            return await self._trace(found)

    async def _trace(self, found: FoldedMessage) -> MessageTrace:
        partition = topics.EVENTS.partition(found.message.conversation_id)
        positions = [Position(topics.EVENTS.name, partition, offset) for offset in found.offsets]
        facts = await read_records(self._bus, positions)
        origins = [origin for record in facts.records.values() if (origin := origin_in(record.headers))]
        webhooks = await read_records(self._bus, origins)
        read = ReadRecords({**facts.records, **webhooks.records}, facts.beyond_retention | webhooks.beyond_retention)
        hops = record_hops(read, positions)
        created = facts.records.get(positions[0])
        created_ms = None if created is None else created.timestamp_ms
        hops.insert(_after_first_fact(hops), fold_hop(positions[0], created_ms, self._read_fleet()))
        return MessageTrace(found.message, tuple(hops))


def _after_first_fact(hops: list[Hop]) -> int:
    events = topics.EVENTS.name
    return next((n for n, hop in enumerate(hops, 1) if hop.position and hop.position.topic == events), len(hops))
