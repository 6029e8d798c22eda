"""The store contract: dead deliveries. The oracle is a dictionary of the latest record per key."""

from random import Random

import pytest

from airy import topics
from airy.errors import Refused
from airy.model.dead_delivery import DeadDelivery
from airy.store.api import Store
from tests.kit.builders import dead
from tests.kit.contracts.store_basics import StoreBasics
from tests.kit.log import Log, cut
from tests.kit.store import SEEDS, digest_of

START = (-1, "")


def history(seed: int, *, records: int = 120) -> tuple[Log, dict[str, DeadDelivery]]:
    """A random log of dead deliveries, replay requests, duplicates and tombstones, and the records that remain."""
    random, log, left = Random(seed), Log(gap=seed % 3), dict[str, DeadDelivery]()
    for _ in range(records):
        requested_at_ms = None if random.random() < 0.7 else random.randrange(50)
        one = dead(
            random.randrange(12),
            f"hook {random.randrange(3)}",
            died_at_ms=random.randrange(40),
            replay_requested_at_ms=requested_at_ms,
        )
        if random.random() < 0.35:
            log.remove(topics.DEAD_DELIVERIES, one.id)
            left.pop(one.id, None)
        else:
            log.append(one)
            left[one.id] = one
    return log, left


def newest(left: dict[str, DeadDelivery]) -> list[DeadDelivery]:
    """The newest record of each delivery, newest first."""
    found = {one.delivery_id: one for one in sorted(left.values(), key=_age)}
    return sorted(found.values(), key=_age, reverse=True)


def _age(one: DeadDelivery) -> tuple[int, str]:
    return one.died_at_ms, one.id


async def listed(store: Store, webhook_id: str | None = None, *, size: int = 500) -> list[DeadDelivery]:
    """All pages, forwards and backwards."""
    found: list[DeadDelivery] = []
    cursor: str | None = None
    begins: list[str | None] = []
    while True:
        page = await store.dead_deliveries(webhook_id=webhook_id, cursor=cursor, page_size=size)
        found += page.items
        if cursor is None:
            assert page.previous_cursor is None
        elif len(begins) > 1:
            assert page.previous_cursor == begins[-1]
        begins.append(cursor)
        if page.next_cursor is None:
            assert page.total == len(found)
            return found
        assert len(page.items) == size
        cursor = page.next_cursor


class DeadDeliveriesContract(StoreBasics):
    @pytest.mark.parametrize("number", SEEDS)
    async def test_dead_deliveries_equal_their_latest_records(self, number: int) -> None:
        log, left = history(number)
        async with self.opened() as store:
            for batch in cut(log.records, Random(number)):
                assert (await store.apply(batch)).unprocessable == []
            latest = newest(left)
            expected = [one for one in latest if one.replay_requested_at_ms is None]
            assert len(expected) > 5
            assert await listed(store) == await listed(store, size=3) == expected
            assert (await store.counts())["dead_deliveries"] == len(expected)
            for name in ("hook 0", "hook 1", "hook 2", "hook 3"):
                of = [one for one in expected if one.webhook_id == name]
                assert await listed(store, name) == await listed(store, name, size=2) == of
            for delivery_id in {one.delivery_id for one in left.values()} | {"unknown"}:
                of = sorted((one for one in left.values() if one.delivery_id == delivery_id), key=_age, reverse=True)
                assert await store.dead_deliveries_of(delivery_id) == of
            requested = sorted(
                (one.replay_requested_at_ms, one.id, one) for one in latest if one.replay_requested_at_ms is not None
            )
            assert await store.pending_replays(after=START, replays_max=500) == [one for *_, one in requested]
            at_ms, id_, first = requested[0]
            assert await store.pending_replays(after=START, replays_max=1) == [first]
            assert await store.pending_replays(after=(at_ms, id_), replays_max=500) == [
                one for *_, one in requested[1:]
            ]

    @pytest.mark.parametrize("number", SEEDS)
    async def test_expired_dead_deliveries_are_beyond_an_age_or_a_number(self, number: int) -> None:
        log, left = history(number)
        ages = sorted(left.values(), key=_age)
        async with self.opened() as store:
            await self.filled(store, log)
            for keep_max, before_ms in ((0, 0), (7, 0), (500, 0), (500, 20), (7, 20), (30, 5)):
                beyond = len(ages) - keep_max
                expired = [one.id for nth, one in enumerate(ages) if nth < beyond or one.died_at_ms < before_ms]
                assert (
                    await store.expired_dead_deliveries(keep_max=keep_max, before_ms=before_ms, deliveries_max=500)
                    == expired
                )
                assert (
                    await store.expired_dead_deliveries(keep_max=keep_max, before_ms=before_ms, deliveries_max=3)
                    == expired[:3]
                )

    async def test_batches_and_order_among_partitions_do_not_change_dead_deliveries(self) -> None:
        log, _ = history(5)
        seen = set()
        for number in range(6):
            async with self.opened() as store:
                for batch in cut(log.interleaved(Random(number)), Random(number), longest=1 + number * 10):
                    await store.apply(batch)
                    await store.apply(batch)
                seen.add((await digest_of(store), (await store.counts())["dead_deliveries"]))
        assert len(seen) == 1

    async def test_different_dead_deliveries_have_different_digests(self) -> None:
        seen = set()
        for one in (
            dead(1),
            dead(2),
            dead(1, died_at_ms=2),
            dead(1, reason="other"),
            dead(1, replay_requested_at_ms=9),
        ):
            log = Log()
            log.append(one)
            async with self.opened() as store:
                await self.filled(store, log)
                seen.add(await store.digest())
                await store.apply([log.remove(topics.DEAD_DELIVERIES, one.id)])
                seen.add(await store.digest())
        assert len(seen) == 6

    async def test_dead_deliveries_survive_a_restart_and_not_a_wipe(self) -> None:
        log, _ = history(6)
        async with self.opened() as store:
            await self.filled(store, log)
            before = await listed(store), await store.counts()
            if self.persistent:
                await store.close()
                await store.open()
            assert (await listed(store), await store.counts()) == before
            await store.wipe()
            assert (await listed(store), (await store.counts())["dead_deliveries"]) == ([], 0)
            await self.filled(store, log)
            assert (await listed(store), await store.counts()) == before

    async def test_a_page_starts_at_its_cursor_even_if_that_row_is_deleted(self) -> None:
        log = Log()
        log.append(*(dead(number, died_at_ms=number) for number in range(5)))
        async with self.opened() as store:
            await self.filled(store, log)
            page = await store.dead_deliveries(cursor=None, page_size=2)
            await store.apply([log.remove(topics.DEAD_DELIVERIES, dead(2, died_at_ms=2).id)])
            rest = await store.dead_deliveries(cursor=page.next_cursor, page_size=2)
            assert rest.items == [dead(1, died_at_ms=1), dead(0, died_at_ms=0)]
            for cursor in ("x", "7", "k!"):
                with pytest.raises(Refused) as refused:
                    await store.dead_deliveries(cursor=cursor, page_size=2)
                assert refused.value.field == "cursor"

    async def test_a_wrong_key_and_undecodable_bytes_are_reported(self) -> None:
        log = Log()
        wrong = [
            log.append_record(topics.DEAD_DELIVERIES.record("another", dead(1))),
            log.raw(topics.DEAD_DELIVERIES, dead(1).id, b'{"delivery_id":"x"}'),
        ]
        log.append(dead(2))
        async with self.opened() as store:
            applied = await store.apply(log.records)
            assert [record for record, _ in applied.unprocessable] == wrong
            assert await listed(store) == [dead(2)]

    async def test_the_bytes_of_a_body_are_kept(self) -> None:
        body = b'{"a" : 1,  "\\u00e4":"\xc3\xa4\xf0\x9f\x8d\x9e", "z":[1.0e2 ]}'
        log, one = Log(), dead(1, body=body)
        log.append(one)
        async with self.opened() as store:
            await self.filled(store, log)
            (found,) = await store.dead_deliveries_of(one.delivery_id)
            assert bytes(found.body) == body
