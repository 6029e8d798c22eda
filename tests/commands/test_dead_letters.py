"""Dead letters over the log alone: which are listed, and what replaying and discarding do."""

from collections.abc import Sequence
from typing import Any

import pytest

from airy import topics
from airy.bus.dead_letter import make_dead_letter
from airy.bus.memory import MemoryBus
from airy.bus.record import Position, ProducerRecord, Record
from airy.clock import LoopClock
from airy.commands import DeadLetterCommands, NotFound
from airy.commands.dead_letters import SCAN_OFFSETS_MAX, DeadLetterOutcome

RAW = topics.source_events("facebook")
TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Log:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.bus = MemoryBus(topics.ALL, clock=self.clock)
        self.commands = DeadLetterCommands(self.bus, self.clock)

    async def dead_letter(self, topic: topics.Topic[Any] = RAW, count: int = 1, *, copies: int = 1) -> list[str]:
        """Append records and dead letters of them; return the ids of the dead letters."""
        records = [
            ProducerRecord(
                topic.name,
                topic.partition(f"key-{number}"),
                b"key-%d" % number,
                b"\xffbytes",
                (("traceparent", TRACE),),
            )
            for number in range(count)
        ]
        dead_letters = topics.dead_letters_of(topic.name)
        assert dead_letters is not None
        positions = await self.bus.publish(records)
        for record, position in zip(records, positions, strict=True):
            original = Record(*position, record.key, record.value, record.headers, self.clock.now_ms())
            for _ in range(copies):
                await self.bus.publish([make_dead_letter(dead_letters, original, f"no {position.offset}", 3)])
        return ["/".join(map(str, position)) for position in positions]

    async def records(self, topic: topics.Topic[Any]) -> list[Record]:
        async with self.bus.tail(await self.bus.beginning_offsets([topic])) as tail:
            return await tail.fetch(records_max=10_000, wait_s=0)

    async def ids(self, **filters: str) -> list[str]:
        return [letter.id for letter in (await self.commands.find_all(**filters)).letters]  # type: ignore[arg-type]


def results(outcomes: Sequence[DeadLetterOutcome]) -> list[tuple[str, str]]:
    return [(outcome.id, outcome.result) for outcome in outcomes]


async def test_dead_letters_of_all_topics_are_listed_once_each() -> None:
    log = Log()
    raw = await log.dead_letter(copies=3)
    events = await log.dead_letter(topics.EVENTS)
    channels = await log.dead_letter(topics.CHANNELS)
    assert sorted(await log.ids()) == sorted([*raw, *events, *channels])
    assert await log.ids(topic=RAW.name) == raw
    assert await log.ids(topic=topics.CHANNELS.name) == channels
    found = await log.commands.find_all()
    [letter] = [each for each in found.letters if each.id == raw[0]]
    assert (letter.key, letter.reason, letter.attempts, letter.size_bytes) == ("key-0", "no 0", 3, 6)
    assert (letter.state, letter.trace_id, found.complete) == ("open", TRACE.decode()[3:35], True)
    for unknown in ("nope", "dlq.nope"):
        with pytest.raises(NotFound):
            await log.commands.find_all(unknown)


async def test_a_dead_letter_is_read_whole() -> None:
    log = Log()
    [letter_id] = await log.dead_letter()
    summary, letter = await log.commands.get(letter_id)
    assert (letter.value, letter.headers, summary.id) == (b"\xffbytes", (("traceparent", TRACE),), letter_id)
    for unknown in ("", "nope", f"{RAW.name}/0/99", f"{RAW.name}/x", f"{topics.ATTEMPTS.name}/0/0"):
        with pytest.raises(NotFound):
            await log.commands.get(unknown)


async def test_a_replay_appends_the_original_record_once() -> None:
    log = Log()
    letter_ids = await log.dead_letter(count=3, copies=2)
    [outcome] = await log.commands.replay([letter_ids[0]], actor="op")
    assert (outcome.id, outcome.result) == (letter_ids[0], "replayed")
    *_, replayed = sorted(await log.records(RAW), key=lambda record: record.header("dlq-id") or "")
    assert (replayed.position, replayed.value, replayed.key) == (outcome.position, b"\xffbytes", b"key-0")
    assert replayed.header("dlq-id") == letter_ids[0]
    assert replayed.topic_partition == Position(*_position(letter_ids[0])).topic_partition

    assert results(await log.commands.replay(letter_ids, actor="op")) == [
        (letter_ids[0], "already_replayed"),
        (letter_ids[1], "replayed"),
        (letter_ids[2], "replayed"),
    ]
    assert len(await log.records(RAW)) == 6
    assert await log.ids(state="open") == []
    assert sorted(await log.ids(state="replayed")) == sorted(letter_ids)
    assert results(await log.commands.discard(letter_ids[:1], actor="op")) == [(letter_ids[0], "already_replayed")]


async def test_a_discarded_dead_letter_is_not_replayed() -> None:
    log = Log()
    [letter_id] = await log.dead_letter()
    assert results(await log.commands.discard([letter_id, letter_id], actor="op")) == [(letter_id, "discarded")]
    assert results(await log.commands.replay([letter_id], actor="op")) == [(letter_id, "already_discarded")]
    assert len(await log.records(RAW)) == 1
    assert await log.ids(state="discarded") == [letter_id]


async def test_a_discard_keeps_its_reason_and_the_caller_with_the_dead_letter() -> None:
    log = Log()
    [letter_id] = await log.dead_letter()
    await log.commands.discard([letter_id], actor="op", reason="sent by a test")
    summary, _ = await log.commands.get(letter_id)
    assert (summary.resolved_by, summary.resolution_reason) == ("op", "sent by a test")


async def test_a_resolved_dead_letter_stays_resolved_when_another_process_writes_it_again() -> None:
    log = Log()
    [letter_id] = await log.dead_letter(topics.EVENTS)
    await log.commands.discard([letter_id], actor="op")
    _, letter = await log.commands.get(letter_id)
    original = Record(*letter.position, letter.key, letter.value, letter.headers, 0)
    dead_letters = topics.dead_letters_of(topics.EVENTS.name)
    assert dead_letters is not None
    await log.bus.publish([make_dead_letter(dead_letters, original, "again", 1)])
    assert await log.ids(state="open") == []


async def test_an_unknown_id_rejects_the_whole_call() -> None:
    log = Log()
    [letter_id] = await log.dead_letter()
    with pytest.raises(NotFound, match=r"facebook\.events/0/99"):
        await log.commands.replay([letter_id, f"{RAW.name}/0/99"], actor="op")
    assert len(await log.records(RAW)) == 1


async def test_a_scan_is_bounded_and_says_so() -> None:
    log = Log()
    dead_letters = topics.dead_letters_of(RAW.name)
    assert dead_letters is not None
    many = [
        make_dead_letter(dead_letters, Record(RAW.name, 0, number, b"one key", b"", (), 0), "no", 1)
        for number in range(SCAN_OFFSETS_MAX + 5)
    ]
    await log.bus.publish(many)
    found = await log.commands.find_all()
    assert (len(found.letters), found.complete) == (SCAN_OFFSETS_MAX, False)


def _position(letter_id: str) -> tuple[str, int, int]:
    topic, partition, offset = letter_id.split("/")
    return topic, int(partition), int(offset)
