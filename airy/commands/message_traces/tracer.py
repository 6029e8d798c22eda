"""Traces one message: finds it, reads the records that changed it, searches its deliveries, and lists the hops."""

from collections.abc import Sequence
from math import inf
from typing import Protocol

import anyio

from airy import topics
from airy.bus.api import Bus
from airy.bus.origin import origin_in
from airy.bus.record import Position
from airy.commands.message_traces.attempt_search import SEARCH_S, AttemptSearch, FoundAttempts
from airy.commands.message_traces.delivery_hops import attempt_hops, dead_hops, queued_hop, unattempted, waiting_hops
from airy.commands.message_traces.early_reports import between_attempts, reports
from airy.commands.message_traces.fact_changes import CHANGES_MAX, FactChanges, fact_changes
from airy.commands.message_traces.fold_hop import ReadFleet, fold_hop
from airy.commands.message_traces.hop import Hop, MessageTrace, in_order, place_behind
from airy.commands.message_traces.message_finder import TraceReference, find_message
from airy.commands.message_traces.process_hops import ProcessTimes, broadcast_hop, store_hop
from airy.commands.message_traces.record_hops import record_hops
from airy.commands.message_traces.record_reader import ReadRecords, read_records
from airy.commands.record_redaction import Mask
from airy.errors import Unavailable
from airy.model.dead_delivery import DeadDelivery
from airy.model.entity import Webhook
from airy.queue.api import QueuePosition, Shard, WebhookQueue
from airy.store.api import ChangeReader, FoldedMessage, StoreQueries

TRACES_AT_ONCE_MAX = 4  # bounds the readers of the log, however many callers ask
DEAD_MAX = 100  # deliveries that are looked up


class TracedQueue(Protocol):
    """The part of the webhook queue that is used here."""

    async def positions(self, shards: Sequence[Shard]) -> list[QueuePosition | Unavailable]: ...


class MessageTracer:
    """`changes`: of the same store as `store`. `mask` hides the secrets of the configuration in text. `search_s`: how
    long delivery attempts are searched for.
    """

    def __init__(
        self,
        bus: Bus,
        store: StoreQueries,
        changes: ChangeReader,
        queue: WebhookQueue | TracedQueue,
        read_fleet: ReadFleet,
        times: ProcessTimes,
        mask: Mask = str,
        *,
        search_s: float = SEARCH_S,
    ) -> None:
        self._bus = bus
        self._store = store
        self._changes = changes
        self._queue = queue
        self._read_fleet = read_fleet
        self._times = times
        self._mask = mask
        self._search_s = search_s
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
        early = await read_records(self._bus, between_attempts(facts, positions))
        also = reports(list(early.records.values()), found.message)
        facts = ReadRecords({**facts.records, **{each: early.records[each] for each in also}}, facts.beyond_retention)
        positions = sorted({*positions, *also})
        read = await self._with_origins(facts)
        webhooks = await self._store.webhooks()
        changes = [await self._changes_of(facts, each, webhooks, created=each is positions[0]) for each in positions]
        known = [each for each in changes if each is not None]
        attempts = await AttemptSearch(self._bus, known, self._search_s).run()
        queue = await self._queue_position(partition)
        chain = record_hops(read, positions, self._mask)
        if known and known[0].offset == positions[0].offset:
            created_ms = known[0].at_ms
            batch = self._times.fold.find(positions[0])
            broadcast = broadcast_hop(positions[0], self._times)
            queued = queued_hop(positions[0], known[0], queue, attempts.attempts)
            place_behind(
                chain,
                positions[0],
                [
                    fold_hop(positions[0], created_ms, self._read_fleet(), batch),
                    store_hop(positions[0], self._times, batch),
                    *sorted((broadcast, queued), key=lambda hop: hop.at_ms or inf),
                ],
            )
        deliveries = await self._deliveries(known, attempts, queue, {each.id: each for each in webhooks})
        return MessageTrace(found.message, in_order(chain, deliveries), attempts.complete)

    async def _with_origins(self, facts: ReadRecords) -> ReadRecords:
        """With the webhooks that the facts were made from."""
        origins = [origin for record in facts.records.values() if (origin := origin_in(record.headers))]
        webhooks = await read_records(self._bus, origins)
        return ReadRecords({**facts.records, **webhooks.records}, facts.beyond_retention | webhooks.beyond_retention)

    async def _changes_of(
        self, facts: ReadRecords, position: Position, webhooks: Sequence[Webhook], *, created: bool
    ) -> FactChanges | None:
        record = facts.records.get(position)
        if record is None:
            return None
        found = await self._changes.changes(
            position.topic_partition, after=(position.offset, -1), changes_max=CHANGES_MAX
        )
        stored = [each for each in found if each.position == position]
        return fact_changes(record, stored, webhooks, created=created)

    async def _queue_position(self, partition: int) -> QueuePosition | Unavailable:
        try:
            return (await self._queue.positions([Shard(topics.EVENTS.name, partition)]))[0]
        except Unavailable as error:
            return error

    async def _deliveries(
        self,
        facts: Sequence[FactChanges],
        attempts: FoundAttempts,
        queue: QueuePosition | Unavailable,
        webhooks: dict[str, Webhook],
    ) -> list[Hop]:
        hops = attempt_hops(attempts.attempts, webhooks)
        dead: list[tuple[int, DeadDelivery]] = []
        for delivery_id, offset in _dead_candidates(facts, attempts):
            dead += [(offset, one) for one in await self._store.dead_deliveries_of(delivery_id)]
        hops += dead_hops(dead, webhooks)
        settled = {one.delivery_id for _, one in dead}
        waiting = unattempted(facts, [each.attempt for each in attempts.attempts], queue)
        return hops + waiting_hops([each for each in waiting if each.id not in settled], webhooks)


def _dead_candidates(facts: Sequence[FactChanges], attempts: FoundAttempts) -> list[tuple[str, int]]:
    """Deliveries that may be dead: those that were expected, and those whose attempt ended them."""
    found = {one.id: one.offset for each in facts for one in each.expected}
    found |= {each.attempt.id: each.offset for each in attempts.attempts if each.attempt.outcome == "dead"}
    delivered = {each.attempt.id for each in attempts.attempts if each.attempt.succeeded}
    return [(delivery_id, offset) for delivery_id, offset in found.items() if delivery_id not in delivered][:DEAD_MAX]
