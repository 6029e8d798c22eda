"""Message traces: the order of hops, the search for attempts, what the log no longer has, ids of several messages."""

from collections.abc import Sequence
from itertools import count, islice

import msgspec
import pytest
from msgspec.structs import replace

from airy import topics
from airy.bus.memory import MemoryBus
from airy.bus.record import Position
from airy.clock import LoopClock
from airy.commands.message_traces import Hop, ProcessTimes
from airy.commands.message_traces.attempt_search import AttemptSearch
from airy.commands.message_traces.fact_changes import ExpectedDelivery, FactChanges
from airy.commands.message_traces.fold_hop import fold_hop
from airy.commands.message_traces.hop import in_order, place_behind
from airy.commands.message_traces.process_hops import broadcast_hop, store_hop
from airy.commands.message_traces.record_reader import read_records
from airy.model import ids
from airy.model.delivery_attempt import AttemptResult, DeliveryAttempt
from airy.model.delivery_state import DeliveryState
from airy.model.fleet import FleetStatus, ProcessInfo
from airy.model.process_status import ProcessStatus
from airy.recent_times import BROADCASTS_MAX, BroadcastTimes, FoldedBatch, FoldTimes
from airy.store.api import StoredChange
from airy.webhooks.dead_letter import dead_letter_record
from tests.kit.api import ApiHarness, api_harness
from tests.kit.builders import PAGE, Chat, channel, dead
from tests.kit.clock import SkewedClock

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000


@pytest.fixture
def clock() -> SkewedClock:
    return SkewedClock(LoopClock(START_MS))


@pytest.fixture
def bus(clock: SkewedClock) -> MemoryBus:
    return MemoryBus(topics.ALL, clock=clock)


def attempt(
    event_id: str, result: AttemptResult, at_ms: int, *, number: int = 1, again_at_ms: int | None = None
) -> DeliveryAttempt:
    return DeliveryAttempt(
        id=f"{event_id}:hook",
        webhook_id="hook",
        event_id=event_id,
        kind="message.created",
        attempt=number,
        at_ms=at_ms,
        took_ms=5,
        result=result,
        again_at_ms=again_at_ms,
    )


async def publish(bus: MemoryBus, attempts: Sequence[DeliveryAttempt]) -> None:
    await bus.publish(
        [topics.ATTEMPTS.record(one.id, msgspec.json.encode(one), timestamp_ms=one.at_ms) for one in attempts]
    )


def changed(event_id: str, at_ms: int, offset: int = 7) -> FactChanges:
    expected = (ExpectedDelivery(event_id, "hook", "message.created", offset),)
    kept: Sequence[StoredChange] = ()
    return FactChanges(offset=offset, at_ms=at_ms, event_ids=frozenset({event_id}), changes=kept, expected=expected)


async def test_attempts_are_found_at_the_time_of_the_change_and_when_their_retries_were_due(bus: MemoryBus) -> None:
    def others(at_ms: int, count: int) -> list[DeliveryAttempt]:
        return [attempt(f"other-{at_ms}-{nth}", "delivered", at_ms + nth) for nth in range(count)]

    retried_ms = START_MS + HOUR_MS
    await publish(bus, others(START_MS - HOUR_MS, 5_000))
    await publish(bus, [attempt("e", "again", START_MS + 40, again_at_ms=retried_ms)])
    await publish(bus, others(START_MS + 10_000, 15_000))
    await publish(bus, [attempt("e", "delivered", retried_ms + 9, number=2)])
    found = await AttemptSearch(bus, [changed("e", START_MS)]).run()
    assert [(each.attempt.attempt, each.attempt.result, each.offset) for each in found.attempts] == [
        (1, "again", 7),
        (2, "delivered", 7),
    ]
    assert found.complete


async def test_a_search_that_finds_nothing_ends_at_its_limit_and_says_so(bus: MemoryBus) -> None:
    partition = topics.ATTEMPTS.partition("e:hook")
    names = (name for nth in count() if topics.ATTEMPTS.partition(f"{(name := f'other-{nth}')}:hook") == partition)
    await publish(bus, [attempt(name, "delivered", START_MS + nth) for nth, name in enumerate(islice(names, 12_500))])
    found = await AttemptSearch(bus, [changed("e", START_MS)]).run()
    assert (list(found.attempts), found.complete) == ([], False)


def test_hops_are_in_the_order_of_causes_and_deliveries_among_them_by_time() -> None:
    chain = [
        Hop(kind="webhook.received", outcome="stored", at_ms=100),
        Hop(kind="message.received", outcome="stored", at_ms=90, caused_by=1),  # by a clock that is behind
        Hop(kind="fold", outcome="folded", caused_by=1),
        Hop(kind="message.edited", outcome="stored", at_ms=500, caused_by=2),
    ]
    late = Hop(kind="delivery.attempt", outcome="delivered", at_ms=450, caused_by=2)  # likewise
    first = Hop(kind="delivery.attempt", outcome="delivered", at_ms=95, caused_by=1)
    assert in_order(chain, [late, first]) == (*chain[:3], first, chain[3], late)


async def test_records_beyond_retention_and_of_another_log_are_told_apart(bus: MemoryBus, clock: SkewedClock) -> None:
    raw = topics.source_events("facebook")
    [gone, *_] = await bus.publish([raw.record("page", b"old", timestamp_ms=START_MS)])
    clock.set((raw.retention_ms or 0) + HOUR_MS)
    kept, *_ = await bus.publish([raw.record("page", b"new")])
    await bus.run_retention()
    beyond = Position(raw.name, kept.partition, kept.offset + 1_000)
    read = await read_records(bus, [gone, kept, beyond, Position("source.gone.events", 0, 1)])
    assert {position: record.value for position, record in read.records.items()} == {kept: b"new"}
    assert read.beyond_retention == {gone}


async def two_of_one_id(api: ApiHarness) -> list[Chat]:
    """Messages with one provider id in two channels, which only a test makes: the ids of most providers are global."""
    chats = [Chat(1), Chat(1, source_channel_id="other-page")]
    await api.append(*(channel(source_channel_id=name) for name in (PAGE, "other-page")))
    await api.append(*(chat.received("same") for chat in chats))
    return chats


async def test_an_id_of_several_messages_lists_them_and_a_channel_chooses_one() -> None:
    async with api_harness() as api:
        chats = await two_of_one_id(api)
        wanted = {"source_message_id": chats[0].provider_id("same")}
        refused = await api.call("/messages.trace", wanted, status=409)
        chosen = await api.call("/messages.trace", wanted | {"channel_id": chats[1].channel_id})
    assert sorted(field["message"].split()[0] for field in refused["fields"]) == sorted(
        chat.inbound_id("same") for chat in chats
    )
    assert chosen["conversation_id"] == chats[1].conversation_id


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "id"),
        ({"id": "m", "source_message_id": "m"}, 400, "source_message_id"),
        ({"message_id": "no uuid"}, 400, "message_id"),
        ({"id": "nothing"}, 404, "id"),
        ({"source_message_id": "nothing"}, 404, "source_message_id"),
        ({"conversation_id": "6f1d1c1e-3b1a-4d3e-9a64-0c5f2f0f7a11"}, 404, "conversation_id"),
    ],
)
async def test_a_reference_without_a_message_is_refused_by_its_field(
    body: dict[str, str], status: int, field: str
) -> None:
    async with api_harness() as api:
        answer = await api.call("/messages.trace", body, status=status)
    assert [each["field"] for each in answer["fields"]] == [field]


async def test_a_receipt_that_came_before_the_answer_of_the_provider_is_a_hop() -> None:
    async with api_harness() as api:
        chat, other = Chat(1), Chat(2)
        await api.append(channel(), chat.received("first"), chat.queued("out"), chat.started("out"))
        await api.append(chat.receipt(DeliveryState.DELIVERED, "wamid"), other.received("else"))
        await api.append(chat.succeeded("out", provider="wamid"))
        trace = await api.call("/messages.trace", {"message_id": chat.outbound_id("out")})
    assert [hop["kind"] for hop in trace["hops"] if hop["topic"] == topics.EVENTS.name] == [
        "message.queued",
        "fold",
        "store",
        "events.broadcast",
        "webhooks.queued",
        "send.started",
        "receipt.reported",
        "send.succeeded",
    ]


async def test_a_delivery_waits_until_it_is_attempted_or_dead() -> None:
    async with api_harness() as api:
        chat = Chat()
        wanted = {"url": "https://crm.example.net/hook", "events": ["message.created"]}
        hook = await api.call("/webhooks.subscribe", wanted)
        fact = chat.received("hello")
        await api.append(channel(), fact)
        waits = await api.call("/messages.trace", {"message_id": fact.message_id})
        event_id = ids.change_id(chat.conversation_id, fact.id, 0)
        died = replace(dead(1, hook["id"]), delivery_id=f"{event_id}:{hook['id']}", event_id=event_id)
        await api.writer.write([dead_letter_record(died)])
        gone = await api.call("/messages.trace", {"message_id": fact.message_id})
    last = [trace["hops"][-1] for trace in (waits, gone)]
    assert [(hop["kind"], hop["outcome"]) for hop in last] == [
        ("delivery.waiting", "waiting"),
        ("delivery.dead", "dead"),
    ]
    assert {hop["detail"]["webhook_id"] for hop in last} == {hook["id"]}
    assert (len(gone["hops"]), last[1]["detail"]["reason"]) == (len(waits["hops"]), "10 attempts failed")


async def test_the_answering_process_and_its_webhook_queue_are_read_with_pruned_changes() -> None:
    """What readers of changes have pruned is derived again."""
    async with api_harness() as api:
        chat = Chat()
        await api.append(channel(), chat.received("hello"))
        before = await api.call("/messages.trace", {"message_id": chat.inbound_id("hello")})
        await api.store.prune_changes(dict.fromkeys(topics.EVENTS.topic_partitions, 1000))
        after = await api.call("/messages.trace", {"message_id": chat.inbound_id("hello")})
    kinds = ["message.received", "fold", "store", "events.broadcast", "webhooks.queued"]
    assert [hop["kind"] for hop in before["hops"]] == kinds
    assert before["hops"][-1]["outcome"] == "waiting"
    assert before["hops"][-1]["detail"]["changes"][0]["event"] == "message.created"
    assert [hop["kind"] for hop in after["hops"]] == [hop["kind"] for hop in before["hops"]]


@pytest.mark.parametrize(
    ("next_offset", "heartbeat_ms", "folded", "outcome"),
    [
        (8, 0, True, "folded"),
        (7, START_MS + 1, False, "waiting"),
        (7, START_MS, None, "folded"),
        (None, 0, None, "folded"),
    ],
)
def test_a_process_that_reported_after_the_record_and_has_not_folded_it_is_waited_for(
    next_offset: int | None, heartbeat_ms: int, folded: bool | None, outcome: str
) -> None:
    status = ProcessStatus(
        instance="here:8080",
        version="1",
        started_at_ms=0,
        at_ms=heartbeat_ms,
        heartbeat_interval_ms=5_000,
        ready=True,
        folded=() if next_offset is None else (0, 0, 0, next_offset),
    )
    fleet = FleetStatus([ProcessInfo(status, 1.0, stale=False), ProcessInfo(status, 99.0, stale=True)])
    hop = fold_hop(Position(topics.EVENTS.name, 3, 7), START_MS, fleet, None)
    assert (hop.outcome, [each["folded"] for each in hop.detail["processes"]]) == (outcome, [folded])  # type: ignore[attr-defined] # a document


def test_what_a_process_did_before_its_start_or_too_long_ago_has_no_time_and_says_so() -> None:
    position, fold, broadcasts = Position(topics.EVENTS.name, 3, 7), FoldTimes(), BroadcastTimes()
    times = ProcessTimes(fold, broadcasts, lambda: "here:8080")
    early = [store_hop(position, times, None), broadcast_hop(position, times)]
    for offset in range(100, 100 + BROADCASTS_MAX):
        fold.add(FoldedBatch(1, {position.topic_partition: (offset, offset + 1)}, 0, 0))
        broadcasts.add(Position(*position.topic_partition, offset), 0, subscribers=0, cut=0)
    late = [store_hop(position, times, None), broadcast_hop(position, times)]

    assert [(hop.outcome, hop.at_ms, hop.detail["reason"]) for hop in early + late] == [
        ("committed", None, "it was before this process started"),
        ("unknown", None, "it was before this process started"),
        ("committed", None, "times are kept of the last 2,000 batches only"),
        ("unknown", None, "times are kept of the last 10,000 records only"),
    ]


def test_hops_of_the_process_are_between_the_facts_by_their_times() -> None:
    """Another process may send before this one has folded the message."""
    fact = Position(topics.EVENTS.name, 3, 7)
    chain = [
        Hop(kind="message.queued", outcome="stored", at_ms=100, position=fact, caused_by=7),
        Hop(kind="send.started", outcome="stored", at_ms=110, caused_by=8),
        Hop(kind="send.succeeded", outcome="stored", at_ms=300, caused_by=9),
    ]
    placed = [("fold", 105), ("store", 120), ("webhooks.queued", 120), ("events.broadcast", None)]
    place_behind(chain, fact, [Hop(kind=kind, outcome="folded", at_ms=at_ms) for kind, at_ms in placed])
    assert [hop.kind for hop in chain] == [
        "message.queued",
        "fold",
        "send.started",
        "store",
        "webhooks.queued",
        "events.broadcast",
        "send.succeeded",
    ]
