"""What must hold for a quiescent simulation. Each checker returns descriptions of violations."""

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256

import msgspec

from airy import topics
from airy.bus.record import Record
from airy.model import ids
from airy.model.change import Change
from airy.model.invariants import change_violations, violations
from airy.store.sqlite import SqliteStore
from tests.kit.fold import ReferenceFold
from tests.sim.cluster import ClusterSimulation
from tests.sim.endpoint import ReceivedDelivery
from tests.sim.simulation import Simulation
from tests.sim.traffic import CHANNEL_ID


async def problems(simulation: Simulation) -> list[str]:
    """All violations of a simulation."""
    log = await records(simulation)
    found = [] if simulation.quiescent else ["it did not become quiescent"]
    for check in (_each_webhook_is_one_message, _answers_are_kept, _calls_are_not_repeated):
        found += [line async for line in check(simulation)]
    reference = SqliteStore(":memory:")
    await reference.open()
    expected = await deliveries(reference, log)
    found += [line async for line in _the_store_is_the_log(simulation, reference)]
    found += list(_invariants(log))
    found += list(_deliveries_are_complete(simulation, expected))
    await reference.close()
    return found


async def records(simulation: Simulation) -> list[Record]:
    """All folded topics, in an order that keeps each partition's."""
    starts, ends = (
        await simulation.bus.beginning_offsets(topics.FOLDED),
        await simulation.bus.end_offsets(topics.FOLDED),
    )
    found: list[Record] = []
    async with simulation.bus.tail(starts) as tail:
        while any(tail.position(tp) < end for tp, end in ends.items()):
            found += await tail.fetch(records_max=10_000, wait_s=0.0)
    return found


async def deliveries(reference: SqliteStore, log: list[Record]) -> dict[str, tuple[str, int, bytes]]:
    """The changes of a fold of the log from empty: change id → lane, sequence, body; in order."""
    expected: dict[str, tuple[str, int, bytes]] = {}
    await reference.apply(log)
    for tp in topics.EVENTS.topic_partitions:
        for published in await reference.changes(tp, after=(-1, -1), changes_max=100_000):
            change = published.change
            expected[change.id] = (change.lane, change.sequence, change.body)
    return expected


async def _each_webhook_is_one_message(simulation: Simulation) -> "Iterator[str]":  # type: ignore[misc]
    """G1, G2: what was answered 2xx is exactly one message, with its last text, or deleted if it was unsent."""
    mids = {mid for post in simulation.traffic.acknowledged for event in post.events for mid in event.ids}
    for mid in simulation.traffic.written:
        if mid not in mids:
            yield f"webhook of {mid} was never acknowledged"
            continue
        message = await simulation.store.message(ids.message_id(CHANNEL_ID, mid))
        if message is None:
            yield f"{mid} was acknowledged and is no message"
        elif message.deleted != (mid in simulation.traffic.unsent):
            yield f"{mid} is {'deleted' if message.deleted else 'still there'}"


async def _answers_are_kept(simulation: Simulation) -> "Iterator[str]":  # type: ignore[misc]
    """A send that was answered is a message with its text, once per key."""
    again = Counter(answer.message_id for answer in simulation.traffic.answers)
    for answer in simulation.traffic.answers:
        message = await simulation.store.message(answer.message_id)
        if message is None:
            yield f"answer {answer.key} was accepted and is missing"
        elif msgspec.json.decode(message.content) != {"text": answer.text}:
            yield f"answer {answer.key} has another text"
        if again[answer.message_id] > 1:
            yield f"two keys share the message {answer.message_id}"


async def _calls_are_not_repeated(simulation: Simulation) -> "Iterator[str]":  # type: ignore[misc]
    """G7, as the provider saw it."""
    for line in simulation.messenger.journal.violations():
        yield f"called again without a recorded failure: {line}"
    for answer in simulation.traffic.answers:
        message = await simulation.store.message(answer.message_id)
        calls = len(simulation.messenger.journal.sends_of(answer.message_id))
        if message is not None and calls > message.attempt_count:
            yield f"answer {answer.key} was called {calls} times, and {message.attempt_count} attempts were accepted"


async def _the_store_is_the_log(simulation: Simulation, reference: SqliteStore) -> "Iterator[str]":  # type: ignore[misc]
    """G5."""
    if await simulation.store.digest() != await reference.digest():
        yield "the store is not the fold of the log"


def _invariants(log: list[Record]) -> Iterator[str]:
    """G2, G3 and every named invariant of the model, over a fold in dictionaries."""
    reference = ReferenceFold()
    response: dict[str, list[Change]] = {}
    for record in log:
        if record.topic == topics.EVENTS.name and (fact := topics.EVENTS.decode(record)) is not None:
            response.setdefault(fact.conversation_id, []).extend(reference.fold(fact).changes)
    for conversation_id, changes in response.items():
        state = reference.state(conversation_id)
        conversation = state.conversation()
        if conversation is not None:
            yield from (f"{name} is broken in {conversation_id}" for name in violations(conversation, state.messages()))
        yield from change_violations(changes)


def _deliveries_are_complete(simulation: Simulation, expected: dict[str, tuple[str, int, bytes]]) -> Iterator[str]:
    """G4: every change once or more, same bytes, first arrivals in order within a conversation."""
    arrived: dict[str, ReceivedDelivery] = {}
    order: dict[str, list[int]] = {}
    for received in simulation.endpoint.accepted:
        known = expected.get(received.event_id)
        if known is None:
            continue  # of a channel, a tag, or from before the subscription
        lane, sequence, body = known
        if body != received.body:
            yield f"delivery {received.event_id} came with other bytes"
        if received.event_id not in arrived:
            order.setdefault(lane, []).append(sequence)
        arrived[received.event_id] = received
    for lane, sequences in order.items():
        if sequences != sorted(sequences):
            yield f"deliveries of {lane} came out of order: {sequences}"
    confirmed = {received.event_id for received in simulation.endpoint.answered}
    missing = [change for change in expected if change not in confirmed]
    if missing:
        yield f"{len(missing)} of {len(expected)} changes were never delivered, first {missing[0]}"


async def replicas_differ(cluster: ClusterSimulation) -> list[str]:
    """G5 across replicas: every store is the fold of the log from its first record."""
    reference = SqliteStore(":memory:")
    await reference.open()
    await reference.apply(await records(cluster))
    expected = await reference.digest()
    await reference.close()
    return [
        f"the store of {node.name} is not the fold of the log"
        for node in cluster.nodes
        if await node.store.digest() != expected
    ]


async def trace(simulation: Simulation) -> str:
    """A hash of the run: the facts in the log with their positions, and what the endpoint received."""
    digest = sha256()
    for record in await records(simulation):
        if record.topic == topics.EVENTS.name:
            digest.update(repr((record.partition, record.offset, record.key, record.value)).encode())
    for received in simulation.endpoint.accepted:
        digest.update(received.event_id.encode() + received.body)
    return digest.hexdigest()
