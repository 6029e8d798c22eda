"""The store contract, R-6: records that are newer than this process hold their partitions."""

from random import Random

import pytest

from airy import topics
from airy.bus.record import Record
from airy.bus.record_schema import Hold
from airy.store.api import Store
from tests.kit.builders import Chat, channel, tag
from tests.kit.contracts.store_basics import StoreBasics
from tests.kit.log import Log, cut
from tests.kit.store import SEEDS, all_changes, digest_of, seeded


def newer(record: Record, kind: str = "message.pinned", version: int = 9) -> Record:
    """The same record as a later version would write it: no reader of this one can decode it."""
    headers = (("kind", kind.encode()), ("v", b"%d" % version))
    return Record(
        record.topic, record.partition, record.offset, record.key, b'{"not":"known"}', headers, record.timestamp_ms
    )


def hold_of(record: Record, kind: str = "message.pinned", version: int = 9) -> Hold:
    return Hold(record.position, kind, version)


class HoldingContract(StoreBasics):
    """R-6."""

    async def applied_in_batches(self, store: Store, records: list[Record], random: Random) -> None:
        for batch in cut(records, random):
            applied = await store.apply(batch)
            assert applied.unprocessable == []

    @pytest.mark.parametrize("number", SEEDS)
    async def test_a_newer_record_holds_its_partition_and_no_other(self, number: int) -> None:
        """However the log is cut into batches, the store equals one that was given the records below the hold."""
        random = Random(number)
        log = seeded(number)
        at = random.randrange(len(log.records))
        held = log.records[at]
        tp = held.topic_partition
        readable = [each for each in log.records if each.topic_partition != tp or each.offset < held.offset]
        async with self.opened() as expected, self.opened() as store:
            await self.applied_in_batches(expected, readable, random)
            await self.applied_in_batches(store, [*log.records[:at], newer(held), *log.records[at + 1 :]], random)
            assert await digest_of(store) == await digest_of(expected)
            assert await store.positions() == await expected.positions()
            assert (await store.apply([])).held == {tp: hold_of(held)}

    async def test_a_hold_is_reported_and_is_no_dead_letter(self) -> None:
        log, chat = Log(gap=3), Chat()
        one, two, three = log.append(chat.received("1"), chat.received("2"), chat.received("3"))
        async with self.opened() as store:
            applied = await store.apply([one, newer(two), three])
            assert (applied.facts, applied.unprocessable) == (1, [])
            assert applied.held == {two.topic_partition: hold_of(two)}
            assert await store.positions() == {one.topic_partition: one.offset + 1}
            assert await store.message(chat.inbound_id("3")) is None

    async def test_records_below_the_hold_are_applied_later_too(self) -> None:
        """A batch may be repeated after a failure that came behind the decision to hold."""
        log, chat = Log(), Chat()
        one, two, three = log.append(chat.received("1"), chat.received("2"), chat.received("3"))
        async with self.opened() as store:
            assert (await store.apply([newer(three)])).held
            assert (await store.apply([one, two])).facts == 2
            assert await store.positions() == {one.topic_partition: two.offset + 1}

    @pytest.mark.parametrize("kind", ["tag", "badge"])
    async def test_a_newer_entity_holds_too(self, kind: str) -> None:
        log = Log()
        (record,) = log.append(tag())
        async with self.opened() as store:
            applied = await store.apply([newer(record, kind)])
            assert applied.held == {record.topic_partition: hold_of(record, kind)}
            assert await store.tags() == []
            assert await all_changes(store, topics.TAGS.topic_partitions) == []

    async def test_garbage_of_a_known_kind_and_version_is_a_dead_letter(self) -> None:
        log, chat = Log(), Chat()
        one, two = log.append(chat.received("1"), chat.received("2"))
        async with self.opened() as store:
            applied = await store.apply([newer(one, "message.received", 1), two])
            assert (len(applied.unprocessable), applied.held, applied.facts) == (1, {}, 1)

    async def test_records_without_kind_and_version_are_applied(self) -> None:
        """As they were written before records had them."""
        log, chat = Log(), Chat()
        records = log.append(chat.received("1"), channel(), tag())
        async with self.opened() as store, self.opened() as expected:
            await expected.apply(records)
            applied = await store.apply(
                [Record(r.topic, r.partition, r.offset, r.key, r.value, (), r.timestamp_ms) for r in records]
            )
            assert (applied.facts, applied.unprocessable, applied.held) == (1, [], {})
            assert await digest_of(store) == await digest_of(expected)

    async def test_a_wiped_store_holds_nothing(self) -> None:
        log, chat = Log(), Chat()
        (record,) = log.append(chat.received("1"))
        async with self.opened() as store:
            assert (await store.apply([newer(record)])).held
            await store.wipe()
            assert (await store.apply([record])).held == {}
            assert await store.message(chat.inbound_id("1")) is not None
