"""What must be true of a world that has come to peace. Each checker returns what is wrong, in words; none: nothing."""

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256

import msgspec

from airy import topics
from airy.bus.record import Record
from airy.model import ids
from airy.model.change import Change
from airy.model.invariants import broken, told_wrongly
from airy.store.sqlite import SqliteStore
from tests.kit.fold import Reference
from tests.sim.endpoint import Received
from tests.sim.fleet import Fleet
from tests.sim.outside import CHANNEL_ID
from tests.sim.world import World


async def problems(world: World) -> list[str]:
    """Everything that is wrong with a world."""
    log = await records(world)
    found = [] if world.peaceful else ["it did not come to peace"]
    for check in (_each_webhook_is_one_message, _answers_are_kept, _calls_are_not_repeated):
        found += [line async for line in check(world)]
    reference = SqliteStore(":memory:")
    await reference.open()
    expected = await deliveries(reference, log)
    found += [line async for line in _the_store_is_the_log(world, reference)]
    found += list(_invariants(log))
    found += list(_deliveries_are_complete(world, expected))
    await reference.close()
    return found


async def records(world: World) -> list[Record]:
    """All folded topics, in an order that keeps each partition's."""
    starts, ends = await world.bus.starts(topics.FOLDED), await world.bus.ends(topics.FOLDED)
    found: list[Record] = []
    async with world.bus.tail(starts) as tail:
        while any(tail.position(where) < end for where, end in ends.items()):
            found += await tail.fetch(records_max=10_000, wait_s=0.0)
    return found


async def deliveries(reference: SqliteStore, log: list[Record]) -> dict[str, tuple[str, int, bytes]]:
    """What a fold of the log from nothing announces: change id → lane, sequence, body; in order."""
    expected: dict[str, tuple[str, int, bytes]] = {}
    await reference.apply(log)
    for where in topics.EVENTS.where:
        for published in await reference.changes(where, after=(-1, -1), changes_max=100_000):
            change = published.change
            expected[change.id] = (change.lane, change.sequence, change.body)
    return expected


async def _each_webhook_is_one_message(world: World) -> "Iterator[str]":  # type: ignore[misc]
    """G1, G2: what was answered 2xx is exactly one message, with its last text, or gone if it was unsent."""
    mids = {mid for post in world.outside.acknowledged for event in post.events for mid in event.mids}
    for mid in world.outside.written:
        if mid not in mids:
            yield f"webhook of {mid} was never taken"
            continue
        message = await world.store.message(ids.message_id(CHANNEL_ID, mid))
        if message is None:
            yield f"{mid} was acknowledged and is no message"
        elif message.deleted != (mid in world.outside.unsent):
            yield f"{mid} is {'deleted' if message.deleted else 'still there'}"


async def _answers_are_kept(world: World) -> "Iterator[str]":  # type: ignore[misc]
    """A send that was answered is a message with its text, once per key."""
    again = Counter(answer.message_id for answer in world.outside.answers)
    for answer in world.outside.answers:
        message = await world.store.message(answer.message_id)
        if message is None:
            yield f"answer {answer.key} was accepted and is gone"
        elif msgspec.json.decode(message.content) != {"text": answer.text}:
            yield f"answer {answer.key} says something else now"
        if again[answer.message_id] > 1:
            yield f"two keys share the message {answer.message_id}"


async def _calls_are_not_repeated(world: World) -> "Iterator[str]":  # type: ignore[misc]
    """G7, as the provider saw it."""
    for line in world.messenger.journal.violations():
        yield f"called again without a recorded failure: {line}"


async def _the_store_is_the_log(world: World, reference: SqliteStore) -> "Iterator[str]":  # type: ignore[misc]
    """G5."""
    if await world.store.digest() != await reference.digest():
        yield "the store is not the fold of the log"


def _invariants(log: list[Record]) -> Iterator[str]:
    """G2, G3 and every named invariant of the model, over a fold in dictionaries."""
    reference = Reference()
    told: dict[str, list[Change]] = {}
    for record in log:
        if record.topic == topics.EVENTS.name and (fact := topics.EVENTS.decode(record)) is not None:
            told.setdefault(fact.conversation_id, []).extend(reference.fold(fact).changes)
    for conversation_id, changes in told.items():
        state = reference.state(conversation_id)
        conversation = state.conversation()
        if conversation is not None:
            yield from (f"{name} is broken in {conversation_id}" for name in broken(conversation, state.messages()))
        yield from told_wrongly(changes)


def _deliveries_are_complete(world: World, expected: dict[str, tuple[str, int, bytes]]) -> Iterator[str]:
    """G4: every change once or more, same bytes, first arrivals in order within a conversation."""
    arrived: dict[str, Received] = {}
    order: dict[str, list[int]] = {}
    for received in world.endpoint.accepted:
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
    confirmed = {received.event_id for received in world.endpoint.answered}
    missing = [change for change in expected if change not in confirmed]
    if missing:
        yield f"{len(missing)} of {len(expected)} changes were never delivered, first {missing[0]}"


async def replicas_differ(fleet: Fleet) -> list[str]:
    """G5 across replicas: every store is the fold of the log from its first record."""
    reference = SqliteStore(":memory:")
    await reference.open()
    await reference.apply(await records(fleet))
    expected = await reference.digest()
    await reference.close()
    return [
        f"the store of {node.name} is not the fold of the log"
        for node in fleet.nodes
        if await node.store.digest() != expected
    ]


async def trace(world: World) -> str:
    """What happened, as a hash: the facts in the log with their places, and what the endpoint saw."""
    digest = sha256()
    for record in await records(world):
        if record.topic == topics.EVENTS.name:
            digest.update(repr((record.partition, record.offset, record.key, record.value)).encode())
    for received in world.endpoint.accepted:
        digest.update(received.event_id.encode() + received.body)
    return digest.hexdigest()
