"""The contract of `deliver`: every change once or again with the same id, in order per partition, on every log.

A log inherits the class and implements `serving`. The reader under test is the smallest one there is; the store is a
fake that folds when it is told to.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest
import structlog
from msgspec.structs import replace
from structlog.testing import LogCapture

from airy import topics
from airy.actors.change_sink import ReaderLimits
from airy.actors.runtime import Backoff
from airy.bus.api import Bus
from airy.bus.dead_letter import StoredDeadLetter, decode
from airy.bus.record import Position, TopicPartition
from airy.bus.topic import Topic
from airy.change_readers import ReaderSpec
from airy.clock import LoopClock
from airy.errors import Refused, Unavailable
from airy.model.change import ChangeKind
from airy.store.api import StoredChange
from tests.kit.change_reader import DEAD_LETTERS, READER, Recording, RecordingReader
from tests.kit.webhooks import Outbox, context, fact, tp_of

TOPICS: list[Topic[Any]] = [*topics.CHANGE_TOPICS, DEAD_LETTERS]
BEGINNING = replace(READER, start="beginning")
LIMITS = ReaderLimits(idle_s=0.1, commit_s=0.1, backoff=Backoff(initial_s=0.2, ceiling_s=0.2))


def lanes_of_other_partitions(lane: str) -> Iterator[str]:
    seen = {tp_of(lane)}
    for name in map(str, range(200)):
        if tp_of(name) not in seen:
            seen.add(tp_of(name))
            yield name


def first_deliveries(recording: Recording) -> dict[str, list[str]]:
    """Per lane, ids in the order of their first delivery."""
    found: dict[str, list[str]] = {}
    for stored in recording.finished:
        ids = found.setdefault(stored.change.lane, [])
        if stored.change.id not in ids:
            ids.append(stored.change.id)
    return found


class DeliverContract(ABC):
    within_s = 30.0  # for what must happen
    quiet_s = 3.0  # after which what has not happened does not happen
    session_s = 10.0  # of a group of the log

    @abstractmethod
    def serving(self) -> AbstractAsyncContextManager[Bus]:
        """A log with `TOPICS`."""
        ...

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Outbox, Recording]]:
        async with self.serving() as bus:
            yield Outbox(bus, LoopClock()), Recording()

    @asynccontextmanager
    async def reading(
        self, outbox: Outbox, recording: Recording, *, reader: ReaderSpec = READER
    ) -> AsyncIterator[list[dict[str, object]]]:
        """One process that reads, from when its reader has its partitions; yields its log events."""
        logged, ctx = LogCapture(), context("reader", clock=outbox.clock)
        ctx.log = structlog.wrap_logger(None, processors=[logged])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.actor(outbox, recording, reader).run, ctx)
            await self.started(outbox, reader)
            yield logged.entries  # type: ignore[misc]
            ctx.draining.set()

    def actor(self, outbox: Outbox, recording: Recording, reader: ReaderSpec = READER) -> RecordingReader:
        return RecordingReader(outbox.bus, outbox, outbox, recording, reader=reader, limits=LIMITS)

    async def started(self, outbox: Outbox, reader: ReaderSpec) -> None:
        """A reader that starts at the end commits that at once; another one needs no wait."""
        partitions = sum(topic.partitions for topic in reader.topics)
        with anyio.fail_after(self.within_s):
            while reader.start == "end" and len(await self.offsets(outbox, reader)) < partitions:
                await anyio.sleep(0.05)

    async def committed(self, outbox: Outbox, lane: str, offset: int, reader: ReaderSpec = READER) -> None:
        with anyio.fail_after(self.within_s):
            while (await self.offsets(outbox, reader)).get(tp_of(lane), 0) < offset:
                await anyio.sleep(0.05)

    async def offsets(self, outbox: Outbox, reader: ReaderSpec) -> Mapping[TopicPartition, int]:
        """The committed offsets. A new cluster may have no coordinator for the group yet."""
        while True:
            try:
                return await outbox.bus.committed(reader.group, reader.topics)
            except Unavailable:
                await anyio.sleep(0.1)

    async def delivered(self, recording: Recording, happened: dict[str, list[str]]) -> None:
        with anyio.fail_after(self.within_s):
            while {one for lane in first_deliveries(recording).values() for one in lane} < {
                one for lane in happened.values() for one in lane
            }:
                await anyio.sleep(0.05)

    # --- what is delivered

    async def test_changes_are_delivered_once_and_in_order_with_their_bytes(self) -> None:
        async with self.opened() as (outbox, recording), self.reading(outbox, recording):
            happened = [one for _ in range(5) for one in await outbox.happens("x", changes=3)]
            await recording.reached(15, self.within_s)
            assert recording.ids() == happened
            assert recording.finished == outbox.changed[tp_of("x")]

    async def test_only_the_kinds_of_the_reader_are_delivered_and_the_others_are_passed(self) -> None:
        reader = replace(READER, kinds=frozenset({ChangeKind.TAG_UPDATED}))
        async with self.opened() as (outbox, recording), self.reading(outbox, recording, reader=reader):
            await outbox.happens("x", changes=3)
            wanted = await outbox.happens("x", kind=ChangeKind.TAG_UPDATED)
            await outbox.happens("x")
            await self.committed(outbox, "x", 3)
            assert recording.ids() == wanted

    async def test_a_new_reader_starts_at_the_end_and_another_one_at_the_beginning(self) -> None:
        async with self.opened() as (outbox, recording):
            before = await outbox.happens("x")
            async with self.reading(outbox, recording):
                after = await outbox.happens("x")
                await recording.reached(1, self.within_s)
                assert recording.ids() == after
            other = replace(BEGINNING, group="other")
            async with self.reading(outbox, recording, reader=other):
                await recording.reached(3, self.within_s)
                assert recording.ids() == [*after, *before, *after]

    async def test_a_new_reader_that_is_restarted_before_its_first_change_does_not_skip_it(self) -> None:
        async with self.opened() as (outbox, recording):
            async with self.reading(outbox, recording):
                pass
            happened = await outbox.happens("x")
            async with self.reading(outbox, recording):
                await recording.reached(1, self.within_s)
            assert recording.ids() == happened

    # --- crashes and rebalances

    async def test_a_crash_between_effect_and_commit_repeats_the_change_with_the_same_id(self) -> None:
        async with self.opened() as (outbox, recording):
            crashed = anyio.Event()

            async def crash_after_two(_: StoredChange) -> None:
                if len(recording.finished) == 2:
                    crashed.set()
                    await anyio.sleep_forever()

            recording.behaviour = crash_after_two
            never_commits = replace(LIMITS, commit_s=1e9)
            async with anyio.create_task_group() as tasks:
                one = RecordingReader(outbox.bus, outbox, outbox, recording, reader=BEGINNING, limits=never_commits)
                tasks.start_soon(one.run, context("reader", clock=outbox.clock))
                happened = [one for _ in range(3) for one in await outbox.happens("x")]
                with anyio.fail_after(self.within_s):
                    await crashed.wait()
                tasks.cancel_scope.cancel()
            recording.behaviour = None
            async with self.reading(outbox, recording, reader=BEGINNING):
                await recording.reached(5, self.within_s)
            assert recording.ids() == [*happened[:2], *happened]

    async def test_a_rebalance_commits_what_is_finished_and_the_next_owner_continues_there(self) -> None:
        async with self.opened() as (outbox, recording):
            lanes = ["x", *list(lanes_of_other_partitions("x"))[:7]]
            happened = {lane: await outbox.happens(lane) for lane in lanes}
            async with self.reading(outbox, recording, reader=BEGINNING):
                await recording.reached(len(lanes), self.within_s)
                async with self.reading(outbox, recording, reader=BEGINNING):
                    for _ in range(4):
                        for lane in lanes:
                            happened[lane] += await outbox.happens(lane)
                        await anyio.sleep(self.quiet_s / 10)
                    await self.delivered(recording, happened)
                for lane in lanes:
                    happened[lane] += await outbox.happens(lane)
                await self.delivered(recording, happened)
            assert first_deliveries(recording) == happened

    async def test_a_drained_reader_finishes_the_change_in_flight_and_commits_it(self) -> None:
        async with self.opened() as (outbox, recording):
            begun = anyio.Event()

            async def slow(_: StoredChange) -> None:
                begun.set()
                await anyio.sleep(self.quiet_s / 3)

            recording.behaviour = slow
            async with self.reading(outbox, recording):
                happened = [one for _ in range(3) for one in await outbox.happens("x")]
                with anyio.fail_after(self.within_s):
                    await begun.wait()
            assert recording.ids() == happened[:1]
            recording.behaviour = None
            async with self.reading(outbox, recording):
                await recording.reached(3, self.within_s)
            assert recording.ids()[-2:] == happened[1:]

    async def test_an_effect_longer_than_a_session_is_finished_before_another_member_takes_over(self) -> None:
        """Membership is kept beside it, and a revocation waits for it: so it is not repeated."""
        async with self.opened() as (outbox, recording):

            async def slow(_: StoredChange) -> None:
                await anyio.sleep(1.5 * self.session_s)

            recording.behaviour = slow
            async with self.reading(outbox, recording):
                happened = await outbox.happens("x")
                await anyio.sleep(1.2 * self.session_s)
                async with self.reading(outbox, recording):
                    await recording.reached(1, self.within_s + self.session_s)
                    await anyio.sleep(self.quiet_s)
            assert recording.ids() == happened
            assert len(recording.begun) == 1

    # --- errors

    async def test_an_unavailable_effect_is_retried_in_order_and_delays_no_other_partition(self) -> None:
        async with self.opened() as (outbox, recording):
            away = True

            async def sometimes(stored: StoredChange) -> None:
                if away and (stored.change.lane, stored.change.sequence) == ("x", 2):
                    raise Unavailable("away")

            recording.behaviour = sometimes
            here = [one for _ in range(3) for one in await outbox.happens("x")]
            async with self.reading(outbox, recording, reader=BEGINNING) as events:
                await recording.reached(1, self.within_s)
                there = await outbox.happens(next(lanes_of_other_partitions("x")))
                await recording.reached(2, self.within_s)
                await anyio.sleep(self.quiet_s)
                assert recording.ids() == [here[0], *there]
                assert {event["event"] for event in events} == {"change_reader.delayed"}
                away = False
                await recording.reached(4, self.within_s)
            assert recording.ids() == [here[0], *there, *here[1:]], "what is finished is not repeated"

    async def test_a_refused_change_is_a_dead_letter_and_the_next_is_delivered(self) -> None:
        async with self.opened() as (outbox, recording):

            async def refuse_first(stored: StoredChange) -> None:
                if stored.change.sequence == 1:
                    raise Refused("too long")

            recording.behaviour = refuse_first
            async with self.reading(outbox, recording) as events:
                (refused,), happened = await outbox.happens("x"), await outbox.happens("x")
                await recording.reached(1, self.within_s)
            assert recording.ids() == happened
            assert [event["event"] for event in events] == ["change_reader.change_refused"]
            async with outbox.bus.tail(await outbox.bus.beginning_offsets([DEAD_LETTERS])) as tail:
                (record,) = await tail.fetch(records_max=10, wait_s=self.within_s)
            assert (record.key, record.value) == (b"x", outbox.changed[tp_of("x")][0].change.body)
            letter = decode(record)
            assert isinstance(letter, StoredDeadLetter)
            assert (letter.position, letter.reason) == (
                Position("changes.recorder", tp_of("x").partition, 0),
                "too long",
            )
            assert dict(letter.headers)["id"] == refused.encode()

    async def test_an_unexpected_error_crashes_the_reader_after_some_attempts_and_is_never_skipped(self) -> None:
        async with self.opened() as (outbox, recording):

            async def broken(_: StoredChange) -> None:
                raise ZeroDivisionError("a bug")

            recording.behaviour = broken
            await outbox.happens("x")
            with anyio.fail_after(self.within_s), pytest.raises(ZeroDivisionError):
                await self.actor(outbox, recording, BEGINNING).run(context("reader", clock=outbox.clock))
            assert len(recording.begun) == 3
            assert (await self.offsets(outbox, BEGINNING)).get(tp_of("x"), 0) == 0

    # --- the store

    async def test_nothing_is_delivered_from_a_store_that_is_behind_the_log(self) -> None:
        async with self.opened() as (outbox, recording):
            happened = await outbox.happens("x")
            (position,) = await outbox.bus.publish([fact("x")])
            async with self.reading(outbox, recording, reader=BEGINNING):
                await anyio.sleep(self.quiet_s)
                assert recording.begun == []
                happened += outbox.fold(position, "x")
                await recording.reached(2, self.within_s)
            assert recording.ids() == happened
            unready = replace(BEGINNING, group="other", requires_current_store=False)
            await outbox.bus.publish([fact("x")])
            async with self.reading(outbox, recording, reader=unready):
                await recording.reached(4, self.within_s)
            assert recording.ids() == [*happened, *happened]

    async def test_changes_pruned_while_the_reader_was_off_are_reported_and_it_continues_behind_them(self) -> None:
        async with self.opened() as (outbox, recording):
            async with self.reading(outbox, recording):
                await outbox.happens("x")
                await self.committed(outbox, "x", 1)
            for _ in range(3):
                await outbox.happens("x")
            await outbox.prune_changes({tp_of("x"): 3})
            async with self.reading(outbox, recording) as events:
                last = await outbox.happens("x")
                await recording.reached(3, self.within_s)
                await self.committed(outbox, "x", 5)
            assert recording.ids()[-1:] == last
            assert [(event["event"], event["from_offset"], event["to_offset"]) for event in events] == [
                ("change_reader.changes_missed", 1, 3)
            ]

    async def test_a_reader_that_may_miss_nothing_requests_a_rebuild_and_waits_for_it(self) -> None:
        async with self.opened() as (outbox, recording):
            happened = [*await outbox.happens("x"), *await outbox.happens("x")]
            kept = list(outbox.changed[tp_of("x")])
            await outbox.prune_changes({tp_of("x"): 1})
            async with self.reading(outbox, recording, reader=replace(BEGINNING, on_gap="rebuild")):
                with anyio.fail_after(self.within_s):
                    while not recording.rebuilds:
                        await anyio.sleep(0.05)
                assert recording.begun == []
                outbox.changed[tp_of("x")], outbox.pruned = kept, {}
                await recording.reached(2, self.within_s)
            assert recording.ids() == happened
            assert "pruned below 1, and needed from 0" in recording.rebuilds[0]
