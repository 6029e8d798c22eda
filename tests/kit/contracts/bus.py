"""The contract of every bus, B-1 to B-11. A backend inherits the class and provides a running bus.

Uses the protocol only. Waits for an event that must happen end when it has; waits for one that must not happen last
`quiet_s`. So the same tests run in virtual time and against a cluster.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

from airy.bus.api import Bus, Fenced, OffsetOutOfRange, Reader, RecordTooLarge, Subscription
from airy.bus.record import Position, ProducerRecord, Record, TopicPartition
from airy.bus.record_size import HEADERS_BYTES_MAX
from airy.bus.topic import Retention, Topic
from airy.errors import Refused, Unavailable

Topics = Sequence[Topic[Any]]
ALL = 10_000
FETCHES = 30  # of a few records each, within which the others must come


class RecordingListener:
    """Records its calls; a slow one delays `on_revoked`."""

    def __init__(self, name: str = "", trace: list[tuple[str, str]] | None = None) -> None:
        self.name = name
        self.trace = [] if trace is None else trace
        self.given: list[Mapping[TopicPartition, int]] = []
        self.subscription: Subscription | None = None
        self.commits_on_revoke: dict[TopicPartition, int] = {}
        self.revoke_s = 0.0

    async def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        self.given.append(dict(partitions))
        self.trace.append((self.name, "assigned"))

    async def on_revoked(self, partitions: Iterable[TopicPartition]) -> None:
        self.trace.append((self.name, "revoking"))
        await anyio.sleep(self.revoke_s)
        if self.subscription is not None and self.commits_on_revoke:
            await self.subscription.commit(self.commits_on_revoke)
        self.trace.append((self.name, "revoked"))


class BusContract(ABC):
    patience_s = 120.0
    """How long an event that must happen may take."""
    quiet_s = 0.05
    """How long to wait before concluding that nothing comes."""
    session_s = 1.0
    """The session time-out of a bus served with `short_timeouts`."""
    rebalance_s = 2.0
    """The rebalance time limit of such a bus."""
    busy = False
    """Whether the machine may stall for a session, so that sessions with `short_timeouts` expire for that too."""
    record_bytes_max = 65_536
    prefix = ""
    """Prefix of topics and groups, for backends that outlive a test."""

    @abstractmethod
    def serving(self, topics: Topics, *, short_timeouts: bool = False) -> AbstractAsyncContextManager[Bus]:
        """A running bus with these topics, empty. Without `short_timeouts` no member expires on a busy machine."""

    @abstractmethod
    async def compact(self, bus: Bus, topic: Topic[Any]) -> None:
        """Run compaction. It need not remove anything, but must keep what B-8 says."""

    @abstractmethod
    async def truncate(self, bus: Bus, topic: Topic[Any]) -> None:
        """Remove all current records of the topic by retention."""

    # --- helpers

    def topic(self, name: str = "facts", *, partitions: int = 4, retention: Retention = "kept") -> Topic[Any]:
        retention_ms = 60_000 if retention == "time" else None
        return Topic(self.prefix + name, bytes, partitions=partitions, retention=retention, retention_ms=retention_ms)

    async def read(self, reader: Reader, count: int, **limits: int) -> list[Record]:
        """This many records; fails when they do not come."""
        records: list[Record] = []
        with anyio.fail_after(self.patience_s):
            while len(records) < count:
                records += await reader.fetch(**{"records_max": ALL, **limits}, wait_s=self.patience_s)
        assert len(records) == count
        return records

    async def nothing(self, reader: Reader) -> None:
        assert await reader.fetch(records_max=ALL, wait_s=self.quiet_s) == []

    @asynccontextmanager
    async def tailing(self, bus: Bus, *topics: Topic[Any]) -> AsyncIterator[Reader]:
        async with bus.tail(await bus.beginning_offsets(topics)) as tail:
            yield tail

    async def settle(self, *members: Subscription) -> None:
        """Let the members fetch concurrently until each has partitions."""

        with anyio.fail_after(self.patience_s):
            while not all(member.assignment for member in members):
                await self.once(*members)

    async def every(self, reader: Reader, count: int) -> None:
        """This many distinct records, however often each: an expelled member reads records again."""
        seen: set[Position] = set()
        with anyio.fail_after(self.patience_s):
            while len(seen) < count:
                seen |= {record.position for record in await reader.fetch(records_max=ALL, wait_s=self.patience_s)}
        assert len(seen) == count

    async def insist(self, member: Subscription, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit; a member that expired on a stalled machine joins again first."""
        with anyio.fail_after(self.patience_s):
            while True:
                try:
                    return await member.commit(offsets)
                except Fenced:
                    assert self.busy, "a member is out that was not silent"
                    await self.once(member)
                    await self.settle(member)

    async def committed(self, bus: Bus, group: str, topic: Topic[Any]) -> dict[TopicPartition, int]:
        """Of a group without members: the first request about any group makes a cluster create its offsets topic."""
        with anyio.fail_after(self.patience_s):
            while True:
                try:
                    return dict(await bus.committed(group, [topic]))
                except Unavailable:
                    assert self.busy, "the committed offsets are unavailable although the cluster is up"
                    await anyio.sleep(self.quiet_s)

    async def until_it_comes(
        self, bus: Bus, tail: Reader, quiet: TopicPartition, busy: Sequence[ProducerRecord]
    ) -> None:
        """Fetch a few at a time, beside a backlog that never ends, until a record of `quiet` is among them.

        A cluster answers for each topic when it likes: what was fetched before it did says nothing.
        """
        fetched, until = 0, anyio.current_time() + self.patience_s
        while fetched < FETCHES or (self.busy and anyio.current_time() < until):
            await bus.publish(busy)
            records = await tail.fetch(records_max=len(busy), wait_s=self.patience_s)
            if any(record.topic_partition == quiet for record in records):
                return
            fetched += 1
        pytest.fail(f"{fetched} fetches, and {quiet} was in none")

    async def once(self, *members: Subscription) -> None:
        """All fetch concurrently."""

        async def fetch(member: Subscription) -> None:
            await member.fetch(records_max=0, wait_s=self.quiet_s)

        async with anyio.create_task_group() as tasks:
            for member in members:
                tasks.start_soon(fetch, member)

    # --- B-1

    async def test_a_key_keeps_its_order_and_its_partition(self) -> None:
        topic = self.topic()
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            for number in range(30):
                await bus.publish([topic.record(f"key-{number % 7}", b"%d" % number)])
            by_key = defaultdict(list)
            for record in await self.read(tail, 30):
                by_key[record.key.decode()].append(int(record.value or b""))
                assert record.partition == topic.partition(record.key.decode())
            assert all(numbers == sorted(numbers) for numbers in by_key.values())
            assert sum(len(numbers) for numbers in by_key.values()) == 30

    async def test_two_readers_see_the_same_order(self) -> None:
        topic = self.topic(partitions=2)
        async with self.serving([topic]) as bus:
            await publish_side_by_side(bus, topic, publishers=5, batches=4)
            seen = []
            for limit in (ALL, 3):
                async with self.tailing(bus, topic) as tail:
                    records = await self.read(tail, 40, records_max=limit)
                    seen.append(by_partition(records))
            assert seen[0] == seen[1]

    # --- B-2

    async def test_offsets_grow_and_end_offsets_are_the_next_to_be_written(self) -> None:
        topic = self.topic(partitions=3)
        async with self.serving([topic]) as bus:
            starts = await bus.beginning_offsets([topic])
            assert starts.keys() == set(topic.topic_partitions)
            assert await bus.end_offsets([topic]) == starts
            positions = await bus.publish(numbered(topic, 20))
            ends = await bus.end_offsets([topic])
            for tp in topic.topic_partitions:
                offsets = [position.offset for position in positions if position.topic_partition == tp]
                assert offsets == sorted(set(offsets))
                assert ends[tp] == (offsets[-1] + 1 if offsets else starts[tp])

    async def test_a_reader_of_everything_is_at_the_end_offsets(self) -> None:
        topic = self.topic(partitions=3)
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await bus.publish(numbered(topic, 20))
            await self.read(tail, 20)
            assert {tp: tail.position(tp) for tp in topic.topic_partitions} == await bus.end_offsets([topic])

    # --- B-3

    async def test_a_published_record_is_at_its_position_byte_for_byte(self) -> None:
        topic = self.topic()
        headers = (("id", b"\x00\xff"), ("id", b"again"), ("empty", b""))
        written = [
            topic.record("a", b"\x00" * 3, headers=headers, timestamp_ms=1_700_000_000_123),
            topic.record("", b""),
            topic.record("gone", None),
            topic.record("ümläut", "…".encode()),
        ]
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            positions = await bus.publish(written)
            records = {record.position: record for record in await self.read(tail, 4)}
            for sent, position in zip(written, positions, strict=True):
                record = records[position]
                assert (record.key, record.value, record.headers) == (
                    sent.key,
                    sent.value,
                    sent.headers,
                )
                assert record.timestamp_ms == sent.timestamp_ms or sent.timestamp_ms is None
                assert record.timestamp_ms > 1_600_000_000_000

    async def test_a_batch_is_in_the_order_given(self) -> None:
        topic = self.topic(partitions=1)
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            positions = await bus.publish(numbered(topic, 50))
            assert [record.position for record in await self.read(tail, 50)] == list(positions)

    async def test_concurrent_publishers_lose_and_duplicate_nothing(self) -> None:
        topic = self.topic()
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await publish_side_by_side(bus, topic, publishers=8, batches=5)
            records = await self.read(tail, 80)
            assert len({record.value for record in records}) == 80
            await self.nothing(tail)

    async def test_publishing_nothing_does_nothing(self) -> None:
        topic = self.topic()
        async with self.serving([topic]) as bus:
            before = await bus.end_offsets([topic])
            assert await bus.publish([]) == []
            assert await bus.end_offsets([topic]) == before

    async def test_a_record_that_is_too_large_refuses_its_batch(self) -> None:
        topic = self.topic(partitions=1)
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            with pytest.raises(RecordTooLarge):
                await bus.publish([topic.record("a", b"fits"), topic.record("a", bytes(self.record_bytes_max + 1))])
            await self.nothing(tail)
            await bus.publish([topic.record("a", bytes(self.record_bytes_max - 1))])
            await self.read(tail, 1)

    async def test_a_record_at_the_limit_has_room_for_the_headers_of_its_copies(self) -> None:
        """A parked or dead-lettered copy has more headers, and must not be too large."""
        topic = self.topic(partitions=1)
        headers = (("reason", bytes(1_024)), *((f"header-{number}", bytes(256)) for number in range(32)))
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await bus.publish([topic.record("a", bytes(self.record_bytes_max - 1), headers=headers)])
            (record,) = await self.read(tail, 1)
            assert record.headers == headers
            with pytest.raises(RecordTooLarge):
                await bus.publish([topic.record("a", b"x", headers=(("h", bytes(HEADERS_BYTES_MAX)),))])

    async def test_an_undeclared_topic_or_partition_is_refused(self) -> None:
        topic, stranger = self.topic(), self.topic("stranger")
        async with self.serving([topic]) as bus:
            with pytest.raises(Refused):
                await bus.publish([topic.record("a", b"1"), stranger.record("a", b"2")])
            for partition in (-1, topic.partitions):
                with pytest.raises(Refused):
                    await bus.publish([ProducerRecord(topic.name, partition, b"a", b"1")])
            with pytest.raises(Refused):
                await bus.end_offsets([stranger])
            with pytest.raises(Refused):
                async with bus.subscribe([stranger], group=f"{self.prefix}group"):
                    pass
            with pytest.raises(Refused):
                async with bus.tail({stranger.topic_partitions[0]: 0}):
                    pass
            assert await bus.end_offsets([topic]) == await bus.beginning_offsets([topic])

    # --- B-4

    async def test_a_group_shares_the_partitions(self) -> None:
        topic = self.topic(partitions=5)
        group = f"{self.prefix}group"
        async with (
            self.serving([topic]) as bus,
            bus.subscribe([topic], group=group) as one,
            bus.subscribe([topic], group=group) as two,
        ):
            await self.settle(one, two)
            assert not one.assignment & two.assignment
            assert one.assignment | two.assignment == set(topic.topic_partitions)
            await bus.publish(numbered(topic, 40))
            seen: list[Record] = []
            with anyio.fail_after(self.patience_s):
                while len(seen) < 40:
                    for member in (one, two):
                        records = await member.fetch(records_max=ALL, wait_s=self.quiet_s)
                        assert {record.topic_partition for record in records} <= member.assignment
                        seen += records
            assert len({record.position for record in seen}) == 40

    async def test_each_group_gets_everything(self) -> None:
        topic = self.topic()
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 10))
            for group in ("one", "two"):
                async with bus.subscribe([topic], group=self.prefix + group) as member:
                    await self.read(member, 10)

    async def test_a_successor_starts_at_the_committed_offset(self) -> None:
        topic = self.topic(partitions=1)
        group = f"{self.prefix}group"
        (tp,) = topic.topic_partitions
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 10))
            async with bus.subscribe([topic], group=group) as member:
                records = await self.read(member, 10)
                await member.commit({tp: records[6].offset + 1})
            assert await bus.committed(group, [topic]) == {tp: records[6].offset + 1}
            listener = RecordingListener()
            async with bus.subscribe([topic], group=group, listener=listener) as member:
                assert await self.read(member, 3) == records[7:]
                assert listener.given == [{tp: records[6].offset + 1}]

    async def test_uncommitted_records_are_read_again(self) -> None:
        topic = self.topic()
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 10))
            seen: list[list[Record]] = []
            for _ in range(2):
                async with bus.subscribe([topic], group=f"{self.prefix}group") as member:
                    seen.append(await self.read(member, 10))
            assert by_partition(seen[0]) == by_partition(seen[1])

    async def test_a_group_without_commits_starts_at_the_beginning(self) -> None:
        topic = self.topic(partitions=2)
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 10))
            group = f"{self.prefix}group"
            assert await self.committed(bus, group, topic) == {}
            listener = RecordingListener()
            async with bus.subscribe([topic], group=group, listener=listener) as member:
                await self.read(member, 10)
            assert listener.given == [await bus.beginning_offsets([topic])]

    async def test_after_a_crash_the_successor_reads_from_the_last_commit(self) -> None:
        topic = self.topic(partitions=4)
        group = f"{self.prefix}group"
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 40))
            finished: list[Record] = []
            async with bus.subscribe([topic], group=group) as survivor:
                async with bus.subscribe([topic], group=group) as victim:
                    await self.settle(survivor, victim)
                    mine = await victim.fetch(records_max=ALL, wait_s=self.patience_s)
                    finished = [record for record in mine if record.topic_partition == mine[0].topic_partition]
                    await victim.commit({mine[0].topic_partition: finished[-1].offset + 1})
                rest: set[Position] = set()
                with anyio.fail_after(self.patience_s):
                    while len(rest) < 40 - len(finished):  # its own records may repeat: it has committed nothing
                        rest |= {record.position for record in await survivor.fetch(records_max=ALL, wait_s=1)}
                assert survivor.assignment == set(topic.topic_partitions)
            assert not {record.position for record in finished} & rest

    # --- B-5

    async def test_a_member_that_does_not_fetch_is_fenced(self) -> None:
        topic = self.topic(partitions=1)
        group = f"{self.prefix}group"
        (tp,) = topic.topic_partitions
        async with self.serving([topic], short_timeouts=True) as bus:
            await bus.publish(numbered(topic, 3))
            listener = RecordingListener()
            async with bus.subscribe([topic], group=group, listener=listener) as zombie:
                records = await self.read(zombie, 3)
                await anyio.sleep(self.session_s * 1.5)
                async with bus.subscribe([topic], group=group) as successor:
                    assert await self.read(successor, 3) == records
                    with pytest.raises(Fenced):
                        await zombie.commit({tp: records[-1].offset + 1})
                    await self.insist(successor, {tp: records[0].offset + 1})
                assert await bus.committed(group, [topic]) == {tp: records[0].offset + 1}
                assert await self.read(zombie, 2) == records[1:]
                rounds = len(listener.trace) // 3
                assert rounds == 1 or (self.busy and rounds > 1)
                assert [name for _, name in listener.trace] == ["assigned", "revoking", "revoked"] * rounds + [
                    "assigned"
                ]

    async def test_a_lone_member_that_does_not_fetch_is_expelled(self) -> None:
        topic = self.topic(partitions=1)
        group = f"{self.prefix}group"
        (tp,) = topic.topic_partitions
        async with self.serving([topic], short_timeouts=True) as bus, bus.subscribe([topic], group=group) as member:
            await bus.publish(numbered(topic, 3))
            for _ in range(2):
                await self.read(member, 3)
                await anyio.sleep(self.session_s * 1.5)
            with pytest.raises(Fenced):
                await member.commit({tp: 1})

    async def test_a_partition_of_another_member_cannot_be_committed(self) -> None:
        topic = self.topic(partitions=2)
        group = f"{self.prefix}group"
        async with (
            self.serving([topic]) as bus,
            bus.subscribe([topic], group=group) as one,
            bus.subscribe([topic], group=group) as two,
        ):
            await bus.publish(numbered(topic, 10))
            await self.settle(one, two)
            (theirs,) = two.assignment
            with pytest.raises(Fenced):
                await one.commit({theirs: 1})
            assert await bus.committed(group, [topic]) == {}

    async def test_fetching_nothing_keeps_a_member_alive(self) -> None:
        topic = self.topic(partitions=1)
        group = f"{self.prefix}group"
        (tp,) = topic.topic_partitions
        listener = RecordingListener()
        async with (
            self.serving([topic], short_timeouts=True) as bus,
            bus.subscribe([topic], group=group, listener=listener) as member,
        ):
            await bus.publish(numbered(topic, 3))
            await self.settle(member)
            with anyio.fail_after(self.patience_s):
                seen_calls = 0
                while seen_calls != len(listener.trace):
                    seen_calls = len(listener.trace)
                    assert seen_calls == 1 or self.busy
                    for _ in range(4):
                        assert await member.fetch(records_max=0, wait_s=self.session_s / 2) == []
            records = await self.read(member, 3)
            await self.insist(member, {tp: records[-1].offset + 1})

    # --- B-6

    async def test_on_revoked_of_the_old_owner_returns_before_on_assigned_of_the_new(self) -> None:
        topic = self.topic(partitions=1)
        group = f"{self.prefix}group"
        (tp,) = topic.topic_partitions
        trace: list[tuple[str, str]] = []
        old, new = RecordingListener("old", trace), RecordingListener("new", trace)
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 5))
            async with bus.subscribe([topic], group=group, listener=old) as first:
                records = await self.read(first, 5)
                old.subscription, old.revoke_s = first, self.quiet_s
                old.commits_on_revoke = {tp: records[2].offset + 1}
                async with bus.subscribe([topic], group=group, listener=new) as second:
                    with anyio.fail_after(self.patience_s):
                        while ("old", "revoked") not in trace:
                            await self.once(first, second)
                    await self.settle_one_of(first, second)
            handover = trace.index(("old", "revoked"))
            assert trace[: handover + 1] == [("old", "assigned"), ("old", "revoking"), ("old", "revoked")]
            listener = new if new.given and new.given[-1] else old
            assert listener.given[-1] == {tp: records[2].offset + 1}

    async def settle_one_of(self, *members: Subscription) -> None:
        """As `settle`, when there is one partition for all members."""
        with anyio.fail_after(self.patience_s):
            while sum(len(member.assignment) for member in members) != 1:
                await self.once(*members)

    async def test_a_listener_that_exceeds_the_time_limit_loses_its_partitions(self) -> None:
        topic = self.topic(partitions=2)
        group = f"{self.prefix}group"
        async with self.serving([topic], short_timeouts=True) as bus:
            await bus.publish(numbered(topic, 10))
            stuck = RecordingListener()
            async with bus.subscribe([topic], group=group, listener=stuck) as first:
                await self.settle(first)
                stuck.revoke_s = self.patience_s * 10
                async with anyio.create_task_group() as tasks:
                    async with bus.subscribe([topic], group=group) as second:

                        async def keep_fetching() -> None:
                            while True:
                                await first.fetch(records_max=ALL, wait_s=self.patience_s * 10)

                        tasks.start_soon(keep_fetching)
                        await self.every(second, 10)
                        with anyio.fail_after(self.patience_s):
                            while second.assignment != set(topic.topic_partitions) or stuck.trace[-1] != (
                                "",
                                "revoking",
                            ):
                                await self.once(second)
                    tasks.cancel_scope.cancel()

    # --- B-7

    async def test_a_fetch_is_bounded_in_records(self) -> None:
        topic = self.topic()
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await bus.publish(numbered(topic, 20))
            sizes: list[int] = []
            with anyio.fail_after(self.patience_s):
                while sum(sizes) < 20:
                    sizes.append(len(await tail.fetch(records_max=6, wait_s=self.patience_s)))
            assert max(sizes) <= 6

    async def test_a_fetch_is_bounded_in_bytes_but_returns_at_least_one_record(self) -> None:
        topic = self.topic(partitions=1)
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await bus.publish([topic.record("a", bytes(size)) for size in (400, 400, 400, 5_000, 400)])
            sizes: list[list[int]] = []
            with anyio.fail_after(self.patience_s):
                while sum(len(some) for some in sizes) < 5:
                    records = await tail.fetch(records_max=ALL, bytes_max=1_000, wait_s=self.patience_s)
                    sizes.append([len(record.value or b"") for record in records])
            assert [size for some in sizes for size in some] == [400, 400, 400, 5_000, 400]
            assert all(sum(some) <= 1_000 or len(some) == 1 for some in sizes)

    async def test_a_busy_partition_starves_no_other(self) -> None:
        topic = self.topic(partitions=2)
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            busy = [ProducerRecord(topic.name, 0, b"busy", b"%d" % number) for number in range(30)]
            await bus.publish([*busy, ProducerRecord(topic.name, 1, b"quiet", b"1")])
            await self.until_it_comes(bus, tail, topic.topic_partitions[1], busy[:10])

    async def test_a_busy_topic_starves_no_other(self) -> None:
        busy, quiet = self.topic("busy", partitions=1), self.topic("quiet", partitions=1)
        async with self.serving([busy, quiet]) as bus, self.tailing(bus, busy, quiet) as tail:
            await bus.publish([busy.record("a", b"1")] * 300)
            await bus.publish([quiet.record("a", b"1")])
            await self.until_it_comes(bus, tail, quiet.topic_partitions[0], [busy.record("a", b"1")] * 10)

    async def test_a_waiting_fetch_returns_new_records(self) -> None:
        topic = self.topic()
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await self.nothing(tail)
            async with anyio.create_task_group() as tasks:

                async def publish_later() -> None:
                    await anyio.sleep(self.quiet_s)
                    await bus.publish(numbered(topic, 3))

                tasks.start_soon(publish_later)
                await self.read(tail, 3)

    async def test_a_cancelled_fetch_skips_nothing(self) -> None:
        topic = self.topic(partitions=2)
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            seen: list[Record] = []
            for number in range(20):
                async with anyio.create_task_group() as tasks:

                    async def fetch() -> None:
                        seen.extend(await tail.fetch(records_max=ALL, wait_s=self.patience_s))

                    tasks.start_soon(fetch)
                    await bus.publish([topic.record(str(number), b"%d" % number)])
                    tasks.cancel_scope.cancel()
            seen += await self.read(tail, 20 - len(seen))
            await self.nothing(tail)
            assert sorted(int(record.value or b"") for record in seen) == list(range(20))

    # --- B-8

    async def test_compaction_keeps_the_latest_of_each_key(self) -> None:
        topic = self.topic("tags", partitions=2, retention="compacted")
        async with self.serving([topic]) as bus:
            for number in range(40):
                await bus.publish([topic.record(f"key-{number % 5}", b"%d" % number)])
            await bus.publish([topic.record("key-0", None)])
            await self.compact(bus, topic)
            ends = await bus.end_offsets([topic])
            async with self.tailing(bus, topic) as tail:
                records: list[Record] = []
                with anyio.fail_after(self.patience_s):
                    while any(tail.position(tp) < end for tp, end in ends.items()):
                        records += await tail.fetch(records_max=7, wait_s=self.quiet_s)
            assert all(offsets == sorted(set(offsets)) for offsets in by_partition(records).values())
            latest = {record.key: record.value for record in records}
            assert latest.pop(b"key-0", None) is None
            assert latest == {b"key-%d" % number: b"%d" % (35 + number) for number in range(1, 5)}

    # --- B-9

    async def test_a_seek_applies_to_the_next_fetch(self) -> None:
        topic = self.topic(partitions=1)
        (tp,) = topic.topic_partitions
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            positions = await bus.publish(numbered(topic, 10))
            await self.read(tail, 10)
            for number in (7, 3):
                tail.seek(tp, positions[number].offset)
                assert tail.position(tp) == positions[number].offset
                records = await self.read(tail, 10 - number)
                assert [record.position for record in records] == list(positions[number:])

    async def test_a_paused_partition_is_not_read_and_the_others_are(self) -> None:
        topic = self.topic(partitions=2)
        one, two = topic.topic_partitions
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await bus.publish([ProducerRecord(topic.name, number % 2, b"", b"%d" % number) for number in range(10)])
            tail.pause([one])
            assert {record.topic_partition for record in await self.read(tail, 5)} == {two}
            await self.nothing(tail)
            tail.resume([one])
            assert {record.topic_partition for record in await self.read(tail, 5)} == {one}

    async def test_a_pause_applies_to_the_next_fetch(self) -> None:
        topic = self.topic(partitions=1)
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await bus.publish(numbered(topic, 10))
            first = await self.read(tail, 4, records_max=4)
            tail.pause(topic.topic_partitions)
            await self.nothing(tail)
            tail.resume(topic.topic_partitions)
            rest = await self.read(tail, 6)
            assert [int(record.value or b"") for record in first + rest] == list(range(10))

    async def test_reading_below_the_beginning_raises(self) -> None:
        topic = self.topic("raw", partitions=1, retention="time")
        (tp,) = topic.topic_partitions
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 10))
            begin = (await bus.beginning_offsets([topic]))[tp]
            await self.truncate(bus, topic)
            await bus.publish(numbered(topic, 3))
            start = (await bus.beginning_offsets([topic]))[tp]
            assert start > begin
            async with bus.tail({tp: begin}) as tail:
                with pytest.raises(OffsetOutOfRange):
                    await tail.fetch(records_max=ALL, wait_s=self.patience_s)
                tail.seek(tp, start)
                await self.read(tail, 3)

    async def test_a_reader_overtaken_by_retention_gets_offset_out_of_range(self) -> None:
        topic = self.topic("raw", partitions=1, retention="time")
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await bus.publish(numbered(topic, 10))
            await self.read(tail, 4, records_max=4)
            await self.truncate(bus, topic)
            await bus.publish(numbered(topic, 3))
            seen = 4
            with suppress(OffsetOutOfRange), anyio.fail_after(self.patience_s):
                while True:
                    records = await tail.fetch(records_max=ALL, wait_s=self.patience_s)
                    assert records[0].offset == seen, "records were skipped without an error"
                    seen += len(records)
                    if seen == 13:  # a reader that had already fetched them has missed nothing
                        break

    async def test_reading_beyond_the_end_raises(self) -> None:
        topic = self.topic(partitions=1)
        (tp,) = topic.topic_partitions
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 2))
            end = (await bus.end_offsets([topic]))[tp]
            async with bus.tail({tp: end + 1}) as tail:
                with pytest.raises(OffsetOutOfRange):
                    await tail.fetch(records_max=ALL, wait_s=self.patience_s)

    async def test_a_group_member_may_seek_and_pause_too(self) -> None:
        topic = self.topic(partitions=1)
        (tp,) = topic.topic_partitions
        async with (
            self.serving([topic]) as bus,
            bus.subscribe([topic], group=f"{self.prefix}group") as member,
        ):
            positions = await bus.publish(numbered(topic, 5))
            await self.read(member, 5)
            member.pause([tp])
            member.seek(tp, positions[3].offset)
            await self.nothing(member)
            member.resume([tp])
            assert [record.position for record in await self.read(member, 2)] == list(positions[3:])

    # --- B-10

    async def test_tails_are_independent(self) -> None:
        topic = self.topic()
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as one:
            await bus.publish(numbered(topic, 10))
            await self.read(one, 10)
            async with self.tailing(bus, topic) as two:
                await self.read(two, 10)
            await self.nothing(one)

    async def test_a_tail_reads_the_given_partitions_from_the_given_offsets(self) -> None:
        topic = self.topic(partitions=2)
        async with self.serving([topic]) as bus:
            positions = await bus.publish(
                [ProducerRecord(topic.name, number % 2, b"", b"%d" % number) for number in range(10)]
            )
            async with bus.tail({topic.topic_partitions[1]: positions[5].offset}) as tail:
                records = await self.read(tail, 3)
                assert [record.value for record in records] == [b"5", b"7", b"9"]
                await self.nothing(tail)

    # --- B-11

    async def test_reading_from_the_offsets_of_a_time_misses_no_record_that_is_as_new(self) -> None:
        topic = self.topic(partitions=2)
        zero, one = topic.topic_partitions
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as first:
            await bus.publish([ProducerRecord(topic.name, 0, b"", b"0")])
            (oldest,) = await self.read(first, 1)
            times = [oldest.timestamp_ms + 100 * number for number in range(1, 7)]
            written = [
                ProducerRecord(topic.name, number % 2, b"", b"%d" % number, (), at_ms)
                for number, at_ms in enumerate(times, start=1)
            ]
            for record in written:  # each in a batch of its own
                await bus.publish([record])
            await bus.publish([ProducerRecord(topic.name, 0, b"", b"7", (), times[-1] + 50)])

            found = await bus.offsets_at([topic], times[3] - 20)
            async with bus.tail(found) as tail:
                assert sorted(record.value or b"" for record in await self.read(tail, 4)) == [b"4", b"5", b"6", b"7"]
            assert (await bus.offsets_at([topic], 0)).keys() == {zero, one}
            async with bus.tail(await bus.offsets_at([topic], 0)) as tail:
                await self.read(tail, 8)
            assert await bus.offsets_at([topic], times[-1] + 51) == await bus.end_offsets([topic])

    async def test_records_are_counted_from_the_beginning_and_from_an_offset(self) -> None:
        topic, empty = self.topic(), self.topic("empty")
        async with self.serving([topic, empty]) as bus:
            positions = await bus.publish([ProducerRecord(topic.name, number % 4, b"", b"1") for number in range(9)])
            begins = await bus.beginning_offsets([topic, empty])
            assert await bus.counts_from(begins) == {topic.name: 9, empty.name: 0}
            last = {position.topic_partition: position.offset for position in positions}
            assert await bus.counts_from(last) == {topic.name: 4}
            ends = await bus.end_offsets([topic])
            assert await bus.counts_from(ends) == {topic.name: 0}
            one, *others = topic.topic_partitions
            assert await bus.partition_counts_from(await bus.beginning_offsets([topic])) == {
                one: 3,
                **dict.fromkeys(others, 2),
            }
            assert await bus.partition_counts_from({**ends, one: last[one]}) == {one: 1, **dict.fromkeys(others, 0)}


def numbered(topic: Topic[Any], count: int) -> list[ProducerRecord]:
    return [topic.record(f"key-{number}", b"%d" % number) for number in range(count)]


def by_partition(records: Iterable[Record]) -> dict[TopicPartition, list[int]]:
    offsets: dict[TopicPartition, list[int]] = defaultdict(list)
    for record in records:
        offsets[record.topic_partition].append(record.offset)
    return offsets


async def publish_side_by_side(bus: Bus, topic: Topic[Any], *, publishers: int, batches: int) -> None:
    """Each publisher publishes this many batches of two."""

    async def publish(name: int) -> None:
        for number in range(batches):
            await bus.publish([topic.record(f"{name}", b"%d-%d-%d" % (name, number, n)) for n in range(2)])

    async with anyio.create_task_group() as tasks:
        for name in range(publishers):
            tasks.start_soon(publish, name)
