"""The in-process bus against a model of lists: publishes, reads, commits, crashes, rebalances and compaction."""

from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import anyio
import looptime
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from airy.bus import Fenced, OffsetOutOfRange, Record, Topic, TopicPartition
from airy.bus.memory import GroupTimeouts, Journal, MemoryBus, MemoryLimits, RetentionSettings, open_journal
from airy.bus.memory.subscription import GroupSubscription
from airy.bus.topic import Retention
from airy.task_group import task_group
from tests.kit.bus import StepClock
from tests.kit.lifecycle import RecordingLifecycle

T = TypeVar("T")
SESSION_S = 10.0
REBALANCE_S = 20.0
RETENTION_MS = 60_000
Line = tuple[int, bytes, bytes | None, int]
"""Offset, key, value, time."""


class ModelMember:
    """A subscription, and the state its owner assumes."""

    def __init__(self, model: "BusModel") -> None:
        self.model = model
        self.positions: dict[TopicPartition, int] = {}
        self.seen_at = model.loop.time()
        self.fetching = False

    @property
    def alive(self) -> bool:
        return self.fetching or self.model.loop.time() < self.seen_at + SESSION_S

    async def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        model = self.model
        for tp, offset in partitions.items():
            assert offset == model.committed.get(tp, model.starts[tp])
            owners = [member for member in model.members if tp in member.positions and member.alive]
            assert owners == [], f"{tp} has two owners"
        self.positions = dict(partitions)
        self.fetching = True

    async def on_revoked(self, partitions: Iterable[TopicPartition]) -> None:
        assert set(partitions) == self.positions.keys()
        self.positions = {}


class BusModel(RuleBasedStateMachine):
    retention: Retention = "kept"
    durable = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = looptime.new_event_loop(start=0)
        self.clock = StepClock()
        self.topic: Topic[Any] = Topic(
            "facts", bytes, partitions=3, retention=self.retention, retention_ms=RETENTION_MS
        )
        self.lines: dict[TopicPartition, list[Line]] = {tp: [] for tp in self.topic.topic_partitions}
        self.written: dict[TopicPartition, set[Line]] = {tp: set() for tp in self.topic.topic_partitions}
        self.starts = dict.fromkeys(self.topic.topic_partitions, 0)
        self.ends = dict.fromkeys(self.topic.topic_partitions, 0)
        self.committed: dict[TopicPartition, int] = {}
        self.members: list[ModelMember] = []
        self.directory = TemporaryDirectory()
        self.journal: Journal | None = None
        self.open()

    def open(self) -> None:
        if self.durable:
            self.journal = open_journal(Path(self.directory.name), inline=True)
        self.bus = MemoryBus(
            [self.topic],
            clock=self.clock,
            journal=self.journal,
            timeouts=GroupTimeouts(session_s=SESSION_S, rebalance_s=REBALANCE_S),
            retention=RetentionSettings(compact_records_min=1),
            limits=MemoryLimits(memory_bytes_max=1_500 if self.durable else None),
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        async def alive() -> T:
            async with task_group() as tasks:
                tasks.start_soon(self.bus.run, RecordingLifecycle())
                result = await work
                tasks.cancel_scope.cancel()
            return result

        return self.loop.run_until_complete(alive())

    def teardown(self) -> None:
        for member in list(self.members):
            self.leave_of(member)
        if self.journal is not None:
            self.journal.close()
        self.directory.cleanup()
        self.loop.close()

    # --- writing

    @rule(
        records=st.lists(
            st.tuples(st.sampled_from("abcdefgh"), st.none() | st.binary(max_size=3)), min_size=1, max_size=8
        )
    )
    def publish(self, records: list[tuple[str, bytes | None]]) -> None:
        outgoing = [self.topic.record(key, value) for key, value in records]
        for position, each in zip(self.run(self.bus.publish(outgoing)), outgoing, strict=True):
            assert position.partition == each.partition
            assert position.offset >= self.ends[position.topic_partition]
            line = position.offset, each.key, each.value, self.clock.ms
            self.lines[position.topic_partition].append(line)
            self.written[position.topic_partition].add(line)
            self.ends[position.topic_partition] = position.offset + 1

    @precondition(lambda self: self.retention == "compacted")
    @rule()
    def compact(self) -> None:
        self.run(self.bus.run_retention())
        for tp, lines in self.lines.items():
            latest = {key: offset for offset, key, _, _ in lines}
            self.lines[tp] = [line for line in lines if latest[line[1]] == line[0]]

    @precondition(lambda self: self.retention == "time")
    @rule(ms=st.sampled_from([1, RETENTION_MS // 2, RETENTION_MS + 1]))
    def expire(self, ms: int) -> None:
        self.clock.ms += ms
        self.run(self.bus.run_retention())
        starts = self.run(self.bus.beginning_offsets([self.topic]))
        for tp, lines in self.lines.items():
            kept = [line for line in lines if line[3] >= self.clock.ms - RETENTION_MS]
            gone = [line for line in lines if line[3] < self.clock.ms - RETENTION_MS]
            if not self.durable or not kept:  # a batch on disk is removed as a whole
                self.starts[tp] = max(self.starts[tp], gone[-1][0] + 1 if gone else 0)
            assert starts[tp] <= max(self.starts[tp], gone[-1][0] + 1 if gone else 0)
            self.starts[tp] = starts[tp]
            self.lines[tp] = [line for line in lines if line[0] >= starts[tp]]

    # --- reading

    @rule(records_max=st.integers(1, 20), bytes_max=st.integers(1, 40), data=st.data())
    def tail(self, records_max: int, bytes_max: int, data: st.DataObject) -> None:
        """From any offset to the end, in bounded batches."""
        start = {tp: data.draw(st.integers(self.starts[tp], self.ends[tp])) for tp in self.topic.topic_partitions}
        self.run(self.read(start, records_max, bytes_max))

    async def read(self, start: dict[TopicPartition, int], records_max: int, bytes_max: int) -> None:
        read: dict[TopicPartition, list[Line]] = {tp: [] for tp in start}
        async with self.bus.tail(start) as tail:
            while {tp: tail.position(tp) for tp in start} != self.ends:
                records = await tail.fetch(records_max=records_max, bytes_max=bytes_max, wait_s=0)
                assert len(records) <= records_max
                size = sum(len(record.key) + len(record.value or b"") for record in records)
                assert size <= bytes_max or len(records) == 1
                for record in records:
                    read[record.topic_partition].append(line_of(record))
        for tp, lines in read.items():
            self.check_read(lines, tp, start[tp], self.ends[tp])

    def check_read(self, lines: list[Line], tp: TopicPartition, start: int, end: int) -> None:
        """Required records are there, in order; compaction may leave more."""
        expected = [line for line in self.lines[tp] if start <= line[0] < end]
        if self.retention == "compacted":
            assert [line for line in lines if line in expected] == expected
            assert set(lines) <= self.written[tp]
            assert [line[0] for line in lines] == sorted({line[0] for line in lines})
        else:
            assert lines == expected

    @precondition(lambda self: any(self.starts.values()))
    @rule()
    def read_what_is_gone(self) -> None:
        tp = max(self.starts, key=lambda tp: self.starts[tp])

        async def fetch() -> None:
            async with self.bus.tail({tp: self.starts[tp] - 1}) as tail:
                with pytest.raises(OffsetOutOfRange):
                    await tail.fetch(records_max=1, wait_s=0)

        if self.starts[tp] <= self.ends[tp] and self.starts[tp] > 0:
            self.run(fetch())

    # --- groups

    @precondition(lambda self: len(self.members) < 4)
    @rule()
    def join(self) -> None:
        member = ModelMember(self)
        member.context = self.bus.subscribe([self.topic], group="group", listener=member)
        member.subscription = self.run(member.context.__aenter__())
        self.members.append(member)

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.leave_of(data.draw(st.sampled_from(self.members)))

    def leave_of(self, member: ModelMember) -> None:
        self.members.remove(member)
        self.run(member.context.__aexit__(None, None, None))

    @rule()
    def rebalance(self) -> None:
        self.run(self.on_time(self.bus.rebalance, "group"))

    async def on_time(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    @precondition(lambda self: self.members)
    @rule(records_max=st.integers(0, 10), data=st.data())
    def fetch(self, records_max: int, data: st.DataObject) -> None:
        """Some members fetch concurrently; the others do not."""
        chosen = data.draw(st.lists(st.sampled_from(self.members), min_size=1, unique=True))
        self.run(self.fetch_of(chosen, records_max))

    async def fetch_of(self, members: list[ModelMember], records_max: int) -> None:
        async with anyio.create_task_group() as tasks:
            for member in members:
                tasks.start_soon(self.fetch_one, member, records_max)

    async def fetch_one(self, member: ModelMember, records_max: int) -> None:
        subscription: GroupSubscription = member.subscription
        member.fetching = member.alive
        try:
            records = await subscription.fetch(records_max=records_max, wait_s=1)
        except OffsetOutOfRange:
            assert any(offset < self.starts[tp] for tp, offset in member.positions.items())
            for tp, offset in member.positions.items():
                member.positions[tp] = max(offset, self.starts[tp])
                subscription.seek(tp, member.positions[tp])
            return
        finally:
            member.fetching = False
            member.seen_at = self.loop.time()
        assert len(records) <= records_max
        assert subscription.assignment == member.positions.keys()
        for tp in {record.topic_partition for record in records}:
            lines = [line_of(record) for record in records if record.topic_partition == tp]
            self.check_read(lines, tp, member.positions[tp], lines[-1][0] + 1)
        for tp in member.positions:
            member.positions[tp] = subscription.position(tp)

    @precondition(lambda self: any(member.positions for member in self.members))
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        member = data.draw(st.sampled_from([member for member in self.members if member.positions]))
        some = data.draw(st.lists(st.sampled_from(sorted(member.positions)), min_size=1, unique=True))
        self.run(self.commit_of(member, {tp: member.positions[tp] for tp in some}))

    async def commit_of(self, member: ModelMember, offsets: dict[TopicPartition, int]) -> None:
        try:
            await member.subscription.commit(offsets)
        except Fenced:
            assert not member.alive
        else:
            assert member.alive
            self.committed |= offsets

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def steal(self, data: st.DataObject) -> None:
        """No member commits partitions it does not own."""
        member = data.draw(st.sampled_from(self.members))
        for tp in self.lines.keys() - member.positions.keys():

            async def commit(tp: TopicPartition = tp) -> None:
                with pytest.raises(Fenced):
                    await member.subscription.commit({tp: 0})

            self.run(commit())

    @rule()
    def silence(self) -> None:
        """So long that every member is expelled, and its next call says so."""
        self.run(anyio.sleep(SESSION_S + 1))

    @precondition(lambda self: self.durable)
    @rule()
    def reopen(self) -> None:
        """As in a crash: no member leaves its group."""
        self.members.clear()
        self.journal.close()
        self.open()

    # --- always

    @invariant()
    def edges(self) -> None:
        self.run(self.check_edges())

    async def check_edges(self) -> None:
        assert await self.bus.end_offsets([self.topic]) == self.ends
        assert await self.bus.beginning_offsets([self.topic]) == self.starts
        assert await self.bus.committed("group", [self.topic]) == self.committed


def line_of(record: Record) -> Line:
    return record.offset, record.key, record.value, record.timestamp_ms


class CompactedModel(BusModel):
    retention = "compacted"


class TimeModel(BusModel):
    retention = "time"


class DurableModel(BusModel):
    durable = True


class DurableCompactedModel(CompactedModel):
    durable = True


class DurableTimeModel(TimeModel):
    durable = True


TestKept = BusModel.TestCase
TestCompacted = CompactedModel.TestCase
TestTime = TimeModel.TestCase
TestDurable = DurableModel.TestCase
TestDurableCompacted = DurableCompactedModel.TestCase
TestDurableTime = DurableTimeModel.TestCase

for _case in (TestKept, TestCompacted, TestTime, TestDurable, TestDurableCompacted, TestDurableTime):
    _case.settings = settings(max_examples=max(5, settings.default.max_examples // 5), stateful_step_count=40)
    _case.pytestmark = [pytest.mark.slow]
del _case
