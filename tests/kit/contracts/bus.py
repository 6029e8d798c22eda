"""What every bus does, B-1 to B-10. A backend inherits the class and says how it is served.

Nothing here looks behind the protocol. Waits for what must come end when it has come; waits for what must not come
last `quiet_s`. So the same tests run in virtual time and against a cluster.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

from airy.bus.api import Bus, Fenced, Reader, RecordTooLarge, Subscription, Truncated
from airy.bus.record import Emit, Position, Record, TopicPartition
from airy.bus.topic import Retention, Topic
from airy.errors import Refused, Unavailable

Topics = Sequence[Topic[Any]]
ALL = 10_000
FETCHES = 30  # of a few records, within which the others come


class Owner:
    """Remembers what it was told; a slow one takes its time to let go."""

    def __init__(self, name: str = "", trace: list[tuple[str, str]] | None = None) -> None:
        self.name = name
        self.trace = [] if trace is None else trace
        self.given: list[Mapping[TopicPartition, int]] = []
        self.subscription: Subscription | None = None
        self.commits_on_revoke: dict[TopicPartition, int] = {}
        self.revoke_s = 0.0

    async def assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        self.given.append(dict(partitions))
        self.trace.append((self.name, "assigned"))

    async def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        self.trace.append((self.name, "revoking"))
        await anyio.sleep(self.revoke_s)
        if self.subscription is not None and self.commits_on_revoke:
            await self.subscription.commit(self.commits_on_revoke)
        self.trace.append((self.name, "revoked"))


class BusContract(ABC):
    patience_s = 120.0
    """How long something that must come may take."""
    quiet_s = 0.05
    """How long nothing has to come before we believe that nothing will."""
    session_s = 1.0
    """After this much silence a member is out, on a bus that is served `impatient`; only there."""
    rebalance_s = 2.0
    """After this much time to let go, partitions go anyway; likewise."""
    busy = False
    """Whether the machine may stand still for a session: then members of an `impatient` bus are out for that too."""
    record_bytes_max = 65_536
    prefix = ""
    """Before every topic and group, where the backend outlives a test."""

    @abstractmethod
    def serving(self, topics: Topics, *, impatient: bool = False) -> AbstractAsyncContextManager[Bus]:
        """A running bus with these topics, empty. Unless `impatient`, nobody is put out because a machine is busy."""

    @abstractmethod
    async def compact(self, bus: Bus, topic: Topic[Any]) -> None:
        """Make compaction happen. Nothing has to be gone afterwards, but what must stay has to be there."""

    @abstractmethod
    async def truncate(self, bus: Bus, topic: Topic[Any]) -> None:
        """Make everything that is in this topic now be gone by retention."""

    # --- what the tests share

    def topic(self, name: str = "facts", *, partitions: int = 4, retention: Retention = "kept") -> Topic[Any]:
        retention_ms = 60_000 if retention == "time" else None
        return Topic(self.prefix + name, bytes, partitions=partitions, retention=retention, retention_ms=retention_ms)

    async def read(self, reader: Reader, count: int, **limits: int) -> list[Record]:
        """So many records; fails when they do not come."""
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
        async with bus.tail(await bus.starts(topics)) as tail:
            yield tail

    async def settle(self, *members: Subscription) -> None:
        """Let the members fetch, side by side, until every one has partitions."""

        with anyio.fail_after(self.patience_s):
            while not all(member.assignment for member in members):
                await self.once(*members)

    async def every(self, reader: Reader, count: int) -> None:
        """So many different records, however often each: who was out reads again."""
        seen: set[Position] = set()
        with anyio.fail_after(self.patience_s):
            while len(seen) < count:
                seen |= {record.position for record in await reader.fetch(records_max=ALL, wait_s=self.patience_s)}
        assert len(seen) == count

    async def insist(self, member: Subscription, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit; who was out because the machine stood still joins again first."""
        with anyio.fail_after(self.patience_s):
            while True:
                try:
                    return await member.commit(offsets)
                except Fenced:
                    assert self.busy, "a member is out that was not silent"
                    await self.once(member)
                    await self.settle(member)

    async def committed(self, bus: Bus, group: str, topic: Topic[Any]) -> dict[TopicPartition, int]:
        """Of a group nobody has joined yet: a cluster makes room for groups when it first hears of one."""
        with anyio.fail_after(self.patience_s):
            while True:
                try:
                    return dict(await bus.committed(group, [topic]))
                except Unavailable:
                    assert self.busy, "nobody knows, with nobody away"
                    await anyio.sleep(self.quiet_s)

    async def until_it_comes(self, bus: Bus, tail: Reader, quiet: TopicPartition, busy: Sequence[Emit]) -> None:
        """Fetch a few at a time, beside a backlog that never ends, until a record of `quiet` is among them.

        A cluster answers for each topic when it likes: what was fetched before it did says nothing.
        """
        fetched, until = 0, anyio.current_time() + self.patience_s
        while fetched < FETCHES or (self.busy and anyio.current_time() < until):
            await bus.publish(busy)
            records = await tail.fetch(records_max=len(busy), wait_s=self.patience_s)
            if any(record.where == quiet for record in records):
                return
            fetched += 1
        pytest.fail(f"{fetched} fetches, and {quiet} was in none")

    async def once(self, *members: Subscription) -> None:
        """Each fetches, side by side."""

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
                await bus.publish([topic.emit(f"key-{number % 7}", b"%d" % number)])
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

    async def test_offsets_grow_and_ends_are_what_comes_next(self) -> None:
        topic = self.topic(partitions=3)
        async with self.serving([topic]) as bus:
            starts = await bus.starts([topic])
            assert starts.keys() == set(topic.where)
            assert await bus.ends([topic]) == starts
            positions = await bus.publish(numbered(topic, 20))
            ends = await bus.ends([topic])
            for where in topic.where:
                offsets = [position.offset for position in positions if position.where == where]
                assert offsets == sorted(set(offsets))
                assert ends[where] == (offsets[-1] + 1 if offsets else starts[where])

    async def test_who_has_read_everything_is_at_the_ends(self) -> None:
        topic = self.topic(partitions=3)
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await bus.publish(numbered(topic, 20))
            await self.read(tail, 20)
            assert {where: tail.position(where) for where in topic.where} == await bus.ends([topic])

    # --- B-3

    async def test_what_was_published_is_at_its_position_bit_for_bit(self) -> None:
        topic = self.topic()
        headers = (("id", b"\x00\xff"), ("id", b"again"), ("empty", b""))
        emits = [
            topic.emit("a", b"\x00" * 3, headers=headers, timestamp_ms=1_700_000_000_123),
            topic.emit("", b""),
            topic.emit("gone", None),
            topic.emit("ümläut", "…".encode()),
        ]
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            positions = await bus.publish(emits)
            records = {record.position: record for record in await self.read(tail, 4)}
            for emit, position in zip(emits, positions, strict=True):
                record = records[position]
                assert (record.key, record.value, record.headers) == (emit.key, emit.value, emit.headers)
                assert record.timestamp_ms == emit.timestamp_ms or emit.timestamp_ms is None
                assert record.timestamp_ms > 1_600_000_000_000

    async def test_a_batch_is_in_the_order_given(self) -> None:
        topic = self.topic(partitions=1)
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            positions = await bus.publish(numbered(topic, 50))
            assert [record.position for record in await self.read(tail, 50)] == list(positions)

    async def test_publishers_side_by_side_lose_and_double_nothing(self) -> None:
        topic = self.topic()
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await publish_side_by_side(bus, topic, publishers=8, batches=5)
            records = await self.read(tail, 80)
            assert len({record.value for record in records}) == 80
            await self.nothing(tail)

    async def test_publishing_nothing_does_nothing(self) -> None:
        topic = self.topic()
        async with self.serving([topic]) as bus:
            before = await bus.ends([topic])
            assert await bus.publish([]) == []
            assert await bus.ends([topic]) == before

    async def test_a_record_that_is_too_large_keeps_its_batch_out(self) -> None:
        topic = self.topic(partitions=1)
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            with pytest.raises(RecordTooLarge):
                await bus.publish([topic.emit("a", b"fits"), topic.emit("a", bytes(self.record_bytes_max + 1))])
            await self.nothing(tail)
            await bus.publish([topic.emit("a", bytes(self.record_bytes_max - 1))])
            await self.read(tail, 1)

    async def test_a_topic_or_partition_there_is_not_is_refused(self) -> None:
        topic, stranger = self.topic(), self.topic("stranger")
        async with self.serving([topic]) as bus:
            with pytest.raises(Refused):
                await bus.publish([topic.emit("a", b"1"), stranger.emit("a", b"2")])
            for partition in (-1, topic.partitions):
                with pytest.raises(Refused):
                    await bus.publish([Emit(topic.name, partition, b"a", b"1")])
            with pytest.raises(Refused):
                await bus.ends([stranger])
            with pytest.raises(Refused):
                async with bus.subscribe([stranger], group=f"{self.prefix}group"):
                    pass
            with pytest.raises(Refused):
                async with bus.tail({stranger.where[0]: 0}):
                    pass
            assert await bus.ends([topic]) == await bus.starts([topic])

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
            assert one.assignment | two.assignment == set(topic.where)
            await bus.publish(numbered(topic, 40))
            seen: list[Record] = []
            with anyio.fail_after(self.patience_s):
                while len(seen) < 40:
                    for member in (one, two):
                        records = await member.fetch(records_max=ALL, wait_s=self.quiet_s)
                        assert {record.where for record in records} <= member.assignment
                        seen += records
            assert len({record.position for record in seen}) == 40

    async def test_each_group_gets_everything(self) -> None:
        topic = self.topic()
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 10))
            for group in ("one", "two"):
                async with bus.subscribe([topic], group=self.prefix + group) as member:
                    await self.read(member, 10)

    async def test_a_successor_goes_on_at_the_committed_offset(self) -> None:
        topic = self.topic(partitions=1)
        group = f"{self.prefix}group"
        (where,) = topic.where
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 10))
            async with bus.subscribe([topic], group=group) as member:
                records = await self.read(member, 10)
                await member.commit({where: records[6].offset + 1})
            assert await bus.committed(group, [topic]) == {where: records[6].offset + 1}
            owner = Owner()
            async with bus.subscribe([topic], group=group, ownership=owner) as member:
                assert await self.read(member, 3) == records[7:]
                assert owner.given == [{where: records[6].offset + 1}]

    async def test_what_was_not_committed_comes_again(self) -> None:
        topic = self.topic()
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 10))
            seen: list[list[Record]] = []
            for _ in range(2):
                async with bus.subscribe([topic], group=f"{self.prefix}group") as member:
                    seen.append(await self.read(member, 10))
            assert by_partition(seen[0]) == by_partition(seen[1])

    async def test_a_group_without_commits_starts_at_the_start(self) -> None:
        topic = self.topic(partitions=2)
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 10))
            group = f"{self.prefix}group"
            assert await self.committed(bus, group, topic) == {}
            owner = Owner()
            async with bus.subscribe([topic], group=group, ownership=owner) as member:
                await self.read(member, 10)
            assert owner.given == [await bus.starts([topic])]

    async def test_a_crash_hands_over_what_was_finished_and_no_more(self) -> None:
        topic = self.topic(partitions=4)
        group = f"{self.prefix}group"
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 40))
            finished: list[Record] = []
            async with bus.subscribe([topic], group=group) as survivor:
                async with bus.subscribe([topic], group=group) as victim:
                    await self.settle(survivor, victim)
                    mine = await victim.fetch(records_max=ALL, wait_s=self.patience_s)
                    finished = [record for record in mine if record.where == mine[0].where]
                    await victim.commit({mine[0].where: finished[-1].offset + 1})
                rest: set[Position] = set()
                with anyio.fail_after(self.patience_s):
                    while len(rest) < 40 - len(finished):  # its own may come twice: it has committed nothing
                        rest |= {record.position for record in await survivor.fetch(records_max=ALL, wait_s=1)}
                assert survivor.assignment == set(topic.where)
            assert not {record.position for record in finished} & rest

    # --- B-5

    async def test_a_silent_member_is_fenced(self) -> None:
        topic = self.topic(partitions=1)
        group = f"{self.prefix}group"
        (where,) = topic.where
        async with self.serving([topic], impatient=True) as bus:
            await bus.publish(numbered(topic, 3))
            owner = Owner()
            async with bus.subscribe([topic], group=group, ownership=owner) as zombie:
                records = await self.read(zombie, 3)
                await anyio.sleep(self.session_s * 1.5)
                async with bus.subscribe([topic], group=group) as successor:
                    assert await self.read(successor, 3) == records
                    with pytest.raises(Fenced):
                        await zombie.commit({where: records[-1].offset + 1})
                    await self.insist(successor, {where: records[0].offset + 1})
                assert await bus.committed(group, [topic]) == {where: records[0].offset + 1}
                assert await self.read(zombie, 2) == records[1:]
                rounds = len(owner.trace) // 3
                assert rounds == 1 or (self.busy and rounds > 1)
                assert [name for _, name in owner.trace] == ["assigned", "revoking", "revoked"] * rounds + ["assigned"]

    async def test_a_silent_member_is_out_even_when_it_is_alone(self) -> None:
        topic = self.topic(partitions=1)
        group = f"{self.prefix}group"
        (where,) = topic.where
        async with self.serving([topic], impatient=True) as bus, bus.subscribe([topic], group=group) as member:
            await bus.publish(numbered(topic, 3))
            for _ in range(2):
                await self.read(member, 3)
                await anyio.sleep(self.session_s * 1.5)
            with pytest.raises(Fenced):
                await member.commit({where: 1})

    async def test_a_partition_of_somebody_else_cannot_be_committed(self) -> None:
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
        (where,) = topic.where
        owner = Owner()
        async with (
            self.serving([topic], impatient=True) as bus,
            bus.subscribe([topic], group=group, ownership=owner) as member,
        ):
            await bus.publish(numbered(topic, 3))
            await self.settle(member)
            with anyio.fail_after(self.patience_s):
                told = 0
                while told != len(owner.trace):
                    told = len(owner.trace)
                    assert told == 1 or self.busy
                    for _ in range(4):
                        assert await member.fetch(records_max=0, wait_s=self.session_s / 2) == []
            records = await self.read(member, 3)
            await self.insist(member, {where: records[-1].offset + 1})

    # --- B-6

    async def test_the_old_owner_has_let_go_before_the_new_one_begins(self) -> None:
        topic = self.topic(partitions=1)
        group = f"{self.prefix}group"
        (where,) = topic.where
        trace: list[tuple[str, str]] = []
        old, new = Owner("old", trace), Owner("new", trace)
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 5))
            async with bus.subscribe([topic], group=group, ownership=old) as first:
                records = await self.read(first, 5)
                old.subscription, old.revoke_s = first, self.quiet_s
                old.commits_on_revoke = {where: records[2].offset + 1}
                async with bus.subscribe([topic], group=group, ownership=new) as second:
                    with anyio.fail_after(self.patience_s):
                        while ("old", "revoked") not in trace:
                            await self.once(first, second)
                    await self.settle_one_of(first, second)
            handover = trace.index(("old", "revoked"))
            assert trace[: handover + 1] == [("old", "assigned"), ("old", "revoking"), ("old", "revoked")]
            owner = new if new.given and new.given[-1] else old
            assert owner.given[-1] == {where: records[2].offset + 1}

    async def settle_one_of(self, *members: Subscription) -> None:
        """As `settle`, when there is one partition for all of them."""
        with anyio.fail_after(self.patience_s):
            while sum(len(member.assignment) for member in members) != 1:
                await self.once(*members)

    async def test_who_does_not_let_go_in_time_loses_its_partitions_anyway(self) -> None:
        topic = self.topic(partitions=2)
        group = f"{self.prefix}group"
        async with self.serving([topic], impatient=True) as bus:
            await bus.publish(numbered(topic, 10))
            stuck = Owner()
            async with bus.subscribe([topic], group=group, ownership=stuck) as first:
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
                            while second.assignment != set(topic.where) or stuck.trace[-1] != ("", "revoking"):
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

    async def test_a_fetch_is_bounded_in_bytes_but_never_stuck(self) -> None:
        topic = self.topic(partitions=1)
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await bus.publish([topic.emit("a", bytes(size)) for size in (400, 400, 400, 5_000, 400)])
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
            busy = [Emit(topic.name, 0, b"busy", b"%d" % number) for number in range(30)]
            await bus.publish([*busy, Emit(topic.name, 1, b"quiet", b"1")])
            await self.until_it_comes(bus, tail, topic.where[1], busy[:10])

    async def test_a_busy_topic_starves_no_other(self) -> None:
        busy, quiet = self.topic("busy", partitions=1), self.topic("quiet", partitions=1)
        async with self.serving([busy, quiet]) as bus, self.tailing(bus, busy, quiet) as tail:
            await bus.publish([busy.emit("a", b"1")] * 300)
            await bus.publish([quiet.emit("a", b"1")])
            await self.until_it_comes(bus, tail, quiet.where[0], [busy.emit("a", b"1")] * 10)

    async def test_a_fetch_that_waits_gets_what_comes(self) -> None:
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
                    await bus.publish([topic.emit(str(number), b"%d" % number)])
                    tasks.cancel_scope.cancel()
            seen += await self.read(tail, 20 - len(seen))
            await self.nothing(tail)
            assert sorted(int(record.value or b"") for record in seen) == list(range(20))

    # --- B-8

    async def test_compaction_keeps_the_latest_of_each_key(self) -> None:
        topic = self.topic("tags", partitions=2, retention="compacted")
        async with self.serving([topic]) as bus:
            for number in range(40):
                await bus.publish([topic.emit(f"key-{number % 5}", b"%d" % number)])
            await bus.publish([topic.emit("key-0", None)])
            await self.compact(bus, topic)
            ends = await bus.ends([topic])
            async with self.tailing(bus, topic) as tail:
                records: list[Record] = []
                with anyio.fail_after(self.patience_s):
                    while any(tail.position(where) < end for where, end in ends.items()):
                        records += await tail.fetch(records_max=7, wait_s=self.quiet_s)
            assert all(offsets == sorted(set(offsets)) for offsets in by_partition(records).values())
            latest = {record.key: record.value for record in records}
            assert latest.pop(b"key-0", None) is None
            assert latest == {b"key-%d" % number: b"%d" % (35 + number) for number in range(1, 5)}

    # --- B-9

    async def test_a_seek_acts_on_the_next_fetch(self) -> None:
        topic = self.topic(partitions=1)
        (where,) = topic.where
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            positions = await bus.publish(numbered(topic, 10))
            await self.read(tail, 10)
            for number in (7, 3):
                tail.seek(where, positions[number].offset)
                assert tail.position(where) == positions[number].offset
                records = await self.read(tail, 10 - number)
                assert [record.position for record in records] == list(positions[number:])

    async def test_a_paused_partition_waits_and_the_others_go_on(self) -> None:
        topic = self.topic(partitions=2)
        one, two = topic.where
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await bus.publish([Emit(topic.name, number % 2, b"", b"%d" % number) for number in range(10)])
            tail.pause([one])
            assert {record.where for record in await self.read(tail, 5)} == {two}
            await self.nothing(tail)
            tail.resume([one])
            assert {record.where for record in await self.read(tail, 5)} == {one}

    async def test_pausing_after_a_fetch_acts_on_the_next(self) -> None:
        topic = self.topic(partitions=1)
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await bus.publish(numbered(topic, 10))
            first = await self.read(tail, 4, records_max=4)
            tail.pause(topic.where)
            await self.nothing(tail)
            tail.resume(topic.where)
            rest = await self.read(tail, 6)
            assert [int(record.value or b"") for record in first + rest] == list(range(10))

    async def test_reading_what_is_gone_is_said_aloud(self) -> None:
        topic = self.topic("raw", partitions=1, retention="time")
        (where,) = topic.where
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 10))
            begin = (await bus.starts([topic]))[where]
            await self.truncate(bus, topic)
            await bus.publish(numbered(topic, 3))
            start = (await bus.starts([topic]))[where]
            assert start > begin
            async with bus.tail({where: begin}) as tail:
                with pytest.raises(Truncated):
                    await tail.fetch(records_max=ALL, wait_s=self.patience_s)
                tail.seek(where, start)
                await self.read(tail, 3)

    async def test_a_reader_that_retention_overtakes_is_told(self) -> None:
        topic = self.topic("raw", partitions=1, retention="time")
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as tail:
            await bus.publish(numbered(topic, 10))
            await self.read(tail, 4, records_max=4)
            await self.truncate(bus, topic)
            await bus.publish(numbered(topic, 3))
            seen = 4
            with suppress(Truncated), anyio.fail_after(self.patience_s):
                while True:
                    records = await tail.fetch(records_max=ALL, wait_s=self.patience_s)
                    assert records[0].offset == seen, "records were skipped, and nobody was told"
                    seen += len(records)
                    if seen == 13:  # a reader that had them at hand when they went has missed nothing
                        break

    async def test_reading_behind_the_end_is_said_aloud(self) -> None:
        topic = self.topic(partitions=1)
        (where,) = topic.where
        async with self.serving([topic]) as bus:
            await bus.publish(numbered(topic, 2))
            end = (await bus.ends([topic]))[where]
            async with bus.tail({where: end + 1}) as tail:
                with pytest.raises(Truncated):
                    await tail.fetch(records_max=ALL, wait_s=self.patience_s)

    async def test_a_group_member_may_seek_and_pause_too(self) -> None:
        topic = self.topic(partitions=1)
        (where,) = topic.where
        async with (
            self.serving([topic]) as bus,
            bus.subscribe([topic], group=f"{self.prefix}group") as member,
        ):
            positions = await bus.publish(numbered(topic, 5))
            await self.read(member, 5)
            member.pause([where])
            member.seek(where, positions[3].offset)
            await self.nothing(member)
            member.resume([where])
            assert [record.position for record in await self.read(member, 2)] == list(positions[3:])

    # --- B-10

    async def test_tails_do_not_know_each_other(self) -> None:
        topic = self.topic()
        async with self.serving([topic]) as bus, self.tailing(bus, topic) as one:
            await bus.publish(numbered(topic, 10))
            await self.read(one, 10)
            async with self.tailing(bus, topic) as two:
                await self.read(two, 10)
            await self.nothing(one)

    async def test_a_tail_reads_what_it_was_given_and_from_there(self) -> None:
        topic = self.topic(partitions=2)
        async with self.serving([topic]) as bus:
            positions = await bus.publish([Emit(topic.name, number % 2, b"", b"%d" % number) for number in range(10)])
            async with bus.tail({topic.where[1]: positions[5].offset}) as tail:
                records = await self.read(tail, 3)
                assert [record.value for record in records] == [b"5", b"7", b"9"]
                await self.nothing(tail)


def numbered(topic: Topic[Any], count: int) -> list[Emit]:
    return [topic.emit(f"key-{number}", b"%d" % number) for number in range(count)]


def by_partition(records: Iterable[Record]) -> dict[TopicPartition, list[int]]:
    offsets: dict[TopicPartition, list[int]] = defaultdict(list)
    for record in records:
        offsets[record.where].append(record.offset)
    return offsets


async def publish_side_by_side(bus: Bus, topic: Topic[Any], *, publishers: int, batches: int) -> None:
    """Each publisher so many batches of two."""

    async def publish(name: int) -> None:
        for number in range(batches):
            await bus.publish([topic.emit(f"{name}", b"%d-%d-%d" % (name, number, n)) for n in range(2)])

    async with anyio.create_task_group() as tasks:
        for name in range(publishers):
            tasks.start_soon(publish, name)
