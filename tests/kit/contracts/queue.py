"""The contract of every webhook queue, Q-1 to Q-5. A backend inherits the class and implements `opened`.

The tests use the protocol only, and time is passed in. The last test compares random histories with a model in plain
Python.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from airy.model.delivery_attempt import DeliveryAttempt
from airy.queue.api import (
    ATTEMPTS_MAX,
    NO_ENTRY,
    NO_LIMITS,
    EntryId,
    FailureStreak,
    Job,
    PositionConflict,
    QueueEntry,
    QueueFull,
    QueuePosition,
    QueueStats,
    Shard,
    WebhookBacklog,
    WebhookQueue,
)
from airy.queue.fair_shares import Divide
from tests.kit.queue_model import Action, History, Rig

HERE = Shard("application.communication.events", 0)
THERE = Shard("application.communication.events", 1)
LEASE_MS = 30_000
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def entry(offset: int, *webhook_ids: str, lane: str = "", nth: int = 0) -> QueueEntry:
    """Without a given lane, each entry has its own."""
    return QueueEntry(
        id=(offset, nth),
        webhook_ids=webhook_ids,
        lane=lane or f"lane {offset}-{nth}",
        event_id=f"event {offset}-{nth}",
        kind="message.created",
        body=f'{{"offset":{offset}}}'.encode(),
        at_ms=1_000 + offset,
        position=f"0.0.{offset}",
    )


async def claim(
    queue: WebhookQueue,
    now_ms: int = 0,
    *,
    jobs_max: int = 100,
    per_webhook_max: int = 100,
    webhook_limits: Mapping[str, int] = NO_LIMITS,
    divide: Divide | None = None,
) -> list[Job]:
    return await queue.claim(
        now_ms=now_ms,
        lease_ms=LEASE_MS,
        jobs_max=jobs_max,
        per_webhook_max=per_webhook_max,
        webhook_limits=webhook_limits,
        divide=divide,
    )


def attempt(webhook_id: str, number: int) -> DeliveryAttempt:
    return DeliveryAttempt(
        id=f"event {number}:{webhook_id}",
        webhook_id=webhook_id,
        event_id=f"event {number}",
        kind="message.created",
        attempt=1,
        at_ms=number,
        took_ms=7,
        result="again",
        status=500,
        again_at_ms=number + 5_000,
        response="sorry ü",
    )


def offsets(jobs: Sequence[Job]) -> list[int]:
    return [job.entry.id[0] for job in jobs]


async def put(queue: WebhookQueue, *entries: QueueEntry, after: EntryId = NO_ENTRY, shard: Shard = HERE) -> None:
    await queue.put(shard, entries, after=after)


class QueueContract(ABC):
    @abstractmethod
    def opened(self, *, jobs_max: int = 1_000) -> AbstractAsyncContextManager[Rig]: ...

    # --- positions

    async def test_q1_a_new_shard_has_no_entry(self) -> None:
        async with self.opened() as rig:
            assert await rig.queue.last(HERE) == NO_ENTRY

    async def test_q1_the_last_id_is_that_of_the_last_entry_even_without_webhooks(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(3, "a"), entry(3, "a", nth=1), entry(7))
            assert (await rig.queue.last(HERE), await rig.queue.last(THERE)) == ((7, 0), NO_ENTRY)
            await put(rig.queue, entry(7, "a", nth=1), after=(7, 0))
            assert await rig.queue.last(HERE) == (7, 1)

    @pytest.mark.parametrize("after", [NO_ENTRY, (2, 0), (3, 1), (4, 0)])
    async def test_q1_a_put_that_does_not_follow_the_last_id_is_refused_with_the_last_id(self, after: EntryId) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(3, "a"))
            with pytest.raises(PositionConflict) as stale:
                await put(rig.queue, entry(9, "a"), after=after)
            assert stale.value.last == (3, 0)
            assert (await rig.queue.last(HERE), offsets(await claim(rig.queue))) == ((3, 0), [3])

    async def test_q1_a_repeated_put_is_refused(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(3, "a"), entry(4, "a"))
            with pytest.raises(PositionConflict):
                await put(rig.queue, entry(3, "a"), entry(4, "a"))
            assert offsets(await claim(rig.queue)) == [3, 4]

    async def test_q1_ids_that_do_not_grow_are_a_bug(self) -> None:
        async with self.opened() as rig:
            for entries in ([entry(3, "a"), entry(3, "a")], [entry(4, "a"), entry(3, "a")]):
                with pytest.raises(ValueError, match="must grow"):
                    await put(rig.queue, *entries)
            with pytest.raises(ValueError, match="must grow"):
                await put(rig.queue, entry(-1, nth=-1))
            assert await rig.queue.stats() == QueueStats(0, 0, None)

    async def test_q1_shards_are_independent(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(3, "a"))
            await put(rig.queue, entry(3, "a", lane="other"), shard=THERE)
            assert await rig.queue.last(HERE) == await rig.queue.last(THERE) == (3, 0)
            assert len(await claim(rig.queue)) == 2

    # --- leases

    async def test_a_job_carries_its_delivery(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(3, "a", "b", lane="conversation"))
            one, other = sorted(await claim(rig.queue, 500), key=lambda job: job.webhook_id)
            assert (one.id, one.webhook_id, one.attempt) == ("event 3-0:a", "a", 1)
            assert (one.first_at_ms, one.leased_until_ms) == (500, 500 + LEASE_MS)
            assert one.entry == entry(3, "a", lane="conversation")
            assert other.entry == entry(3, "b", lane="conversation")

    async def test_q2_no_job_is_leased_twice_within_a_lease(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(3, "a"))
            assert len(await claim(rig.queue)) == 1
            assert await claim(rig.queue, LEASE_MS - 1) == []

    async def test_q2_an_expired_lease_returns_the_same_delivery(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(3, "a"))
            (first,) = await claim(rig.queue, 10)
            (second,) = await claim(rig.queue, 10 + LEASE_MS)
            assert (second.id, second.entry, second.first_at_ms) == (first.id, first.entry, first.first_at_ms)
            assert (first.attempt, second.attempt) == (1, 2)
            assert first.token != second.token

    async def test_q2_outcomes_after_the_lease_are_rejected(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(3, "a"))
            (late,) = await claim(rig.queue)
            (job,) = await claim(rig.queue, LEASE_MS)
            assert not await rig.queue.complete(late)
            assert not await rig.queue.retry(late, now_ms=0, due_ms=0, reason="late")
            assert not await rig.queue.release(late)
            assert not await rig.queue.dead_letter(late, now_ms=0)
            assert await rig.queue.stats() == QueueStats(0, 1, 1_003)
            assert await rig.queue.failure_streak("a") is None
            assert await rig.queue.complete(job)
            assert not await rig.queue.complete(job)

    async def test_q2_a_token_from_before_a_wipe_is_rejected(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(3, "a"))
            (old,) = await claim(rig.queue)
            await rig.wipe()
            await put(rig.queue, entry(3, "a"))
            (new,) = await claim(rig.queue)
            assert not await rig.queue.complete(old)
            assert await rig.queue.complete(new)

    async def test_q2_concurrent_claims_get_different_jobs(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, *(entry(number, "a") for number in range(20)))
            claimed = [*(await claim(rig.queue, jobs_max=7)), *(await claim(rig.queue)), *(await claim(rig.queue))]
            assert offsets(claimed) == list(range(20))

    # --- order

    async def test_q3_jobs_of_a_lane_are_leased_one_at_a_time_in_order(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, *(entry(number, "a", lane="one") for number in range(3)))
            for number in range(3):
                (job,) = await claim(rig.queue)
                assert (job.entry.id, await claim(rig.queue)) == ((number, 0), [])
                assert await rig.queue.complete(job)

    async def test_q3_a_retry_blocks_its_lane_only(self) -> None:
        async with self.opened() as rig:
            await put(
                rig.queue, entry(0, "a", "b", lane="one"), entry(1, "a", "b", lane="one"), entry(2, "a", lane="two")
            )
            first, other, elsewhere = sorted(await claim(rig.queue), key=lambda job: (job.entry.lane, job.webhook_id))
            assert await rig.queue.retry(first, now_ms=0, due_ms=5_000, reason="no")
            assert await rig.queue.complete(other)
            assert await rig.queue.complete(elsewhere)
            (projector,) = await claim(rig.queue, 4_999)
            assert (projector.webhook_id, projector.entry.id) == ("b", (1, 0))
            (again,) = await claim(rig.queue, 5_000)
            assert (again.webhook_id, again.entry.id, again.attempt) == ("a", (0, 0), 2)

    async def test_q3_a_lane_continues_after_a_dead_letter(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(0, "a", lane="one"), entry(1, "a", lane="one"))
            (job,) = await claim(rig.queue)
            assert await rig.queue.dead_letter(job, now_ms=9)
            assert offsets(await claim(rig.queue)) == [1]

    async def test_q3_a_job_that_is_due_again_goes_before_those_behind_it(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(0, "a", lane="one"), entry(1, "a", lane="one"))
            await claim(rig.queue)
            assert offsets(await claim(rig.queue, LEASE_MS)) == [0]
            (job,) = await claim(rig.queue, 2 * LEASE_MS)
            assert await rig.queue.release(job)
            assert offsets(await claim(rig.queue, 2 * LEASE_MS)) == [0]

    # --- claims

    async def test_the_oldest_jobs_are_leased_first_and_never_more_than_requested(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, *(entry(number, f"hook {number % 3}") for number in range(9)))
            assert offsets(await claim(rig.queue, 1, jobs_max=3)) == [0, 1, 2]
            assert offsets(await claim(rig.queue, 2, jobs_max=9)) == [3, 4, 5, 6, 7, 8]

    async def test_a_claim_is_divided_over_webhooks_however_old_the_jobs_of_one_are(self) -> None:
        async with self.opened() as rig:
            entries = [entry(number, "a") for number in range(60)]
            await put(rig.queue, *entries, *(entry(60 + number, f"hook {number}") for number in range(20)))
            assert offsets(await claim(rig.queue, jobs_max=50)) == [*range(30), *range(60, 80)]
            assert offsets(await claim(rig.queue, jobs_max=50)) == list(range(30, 60))

    async def test_a_claim_is_divided_as_its_caller_says(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, *(entry(number, "a", "b", "c") for number in range(40)))
            asked: list[Mapping[str, int]] = []

            def divide(wanted: Mapping[str, int]) -> Mapping[str, int]:
                asked.append(wanted)
                return {"a": min(25, wanted["a"]), "b": 2}

            jobs = await claim(rig.queue, jobs_max=100, webhook_limits={"b": 3}, divide=divide)
            assert Counter(job.webhook_id for job in jobs) == {"a": 25, "b": 2}
            assert [offset for offset in offsets(jobs) if offset >= 2] == list(range(2, 25))
            assert asked[-1]["b"] == 3
            jobs = await claim(rig.queue, jobs_max=100, webhook_limits={"b": 3})
            assert Counter(job.webhook_id for job in jobs) == {"a": 15, "b": 1, "c": 40}

    async def test_a_retry_that_has_waited_longer_goes_before_what_came_later(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(0, "a"), entry(1, "a"))
            for job in await claim(rig.queue, 100):
                await rig.queue.retry(job, now_ms=0, due_ms=300 if job.entry.id == (0, 0) else 200, reason="no")
            await claim(rig.queue, 250, jobs_max=0)
            await put(rig.queue, entry(2, "a"), after=(1, 0))
            assert offsets(await claim(rig.queue, 400)) == [1, 2, 0]

    async def test_a_webhook_has_only_so_many_leases_at_once(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, *(entry(number, "a") for number in range(5)), entry(5, "b"))
            first = await claim(rig.queue, per_webhook_max=2)
            assert offsets(first) == [0, 1, 5]
            assert await claim(rig.queue, per_webhook_max=2) == []
            await rig.queue.complete(first[0])
            assert offsets(await claim(rig.queue, per_webhook_max=2)) == [2]
            assert offsets(await claim(rig.queue, LEASE_MS, per_webhook_max=2)) == [1, 2, 5]

    async def test_a_webhook_may_have_a_limit_of_its_own_or_none_at_all(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(0, "a", "b"), entry(1, "a", "b"))
            limits = {"a": 0, "b": 1, "unknown": 0}
            (job,) = await claim(rig.queue, webhook_limits=limits)
            assert (job.webhook_id, await claim(rig.queue, webhook_limits=limits)) == ("b", [])

    async def test_next_due_is_the_earliest_due_time_or_lease_expiry(self) -> None:
        async with self.opened() as rig:
            assert await rig.queue.next_due_ms() is None
            await put(rig.queue, entry(0, "a"), entry(1, "b"))
            due_ms = await rig.queue.next_due_ms()
            assert due_ms is not None
            assert due_ms <= 0
            one, other = await claim(rig.queue, 10)
            assert await rig.queue.next_due_ms() == 10 + LEASE_MS
            await rig.queue.retry(one, now_ms=0, due_ms=90_000, reason="no")
            assert await rig.queue.next_due_ms() == 10 + LEASE_MS
            await rig.queue.complete(other)
            assert await rig.queue.next_due_ms() == 90_000

    @pytest.mark.parametrize("restarted", [False, True])
    async def test_a_clock_that_is_set_back_holds_nothing_back(self, restarted: bool) -> None:
        hour_ms, begin_ms = 3_600_000, 10_000
        async with self.opened() as rig:
            await put(rig.queue, entry(1, "a"), entry(2, "b"))
            _, retried = await claim(rig.queue, hour_ms)
            await put(rig.queue, entry(3, "c", lane="one"), entry(4, "c", lane="one"), after=(2, 0))
            assert await rig.queue.retry(retried, now_ms=hour_ms, due_ms=hour_ms + 5_000, reason="no")
            if restarted:
                await rig.reopen()

            (new,) = await claim(rig.queue, begin_ms)
            assert new.entry.id == (3, 0)
            assert await rig.queue.complete(new)
            assert offsets(await claim(rig.queue, begin_ms)) == [4]
            assert await rig.queue.next_due_ms() == begin_ms + min(5_000, LEASE_MS)
            assert offsets(await claim(rig.queue, begin_ms + 5_000)) == [2]
            assert 1 in offsets(await claim(rig.queue, begin_ms + LEASE_MS))

    @pytest.mark.parametrize("retried_before", [False, True])
    @pytest.mark.parametrize("lease_ends", ["released", "expired"])
    @pytest.mark.parametrize("set_back", ["before", "after"])
    async def test_a_job_whose_lease_ended_is_due_whenever_the_clock_is_set_back(
        self, set_back: str, lease_ends: str, retried_before: bool
    ) -> None:
        hour_ms, begin_ms = 3_600_000, 10_000
        leased_ms = 2 * hour_ms if retried_before else hour_ms
        async with self.opened() as rig:
            await claim(rig.queue, hour_ms)
            await put(rig.queue, replace(entry(1, "a"), at_ms=hour_ms))
            (job,) = await claim(rig.queue, hour_ms)
            if retried_before:
                await rig.queue.retry(job, now_ms=hour_ms, due_ms=leased_ms, reason="no")
                (job,) = await claim(rig.queue, leased_ms)
            if set_back == "before":
                await claim(rig.queue, begin_ms)
            if lease_ends == "released":
                assert await rig.queue.release(job)
            elif set_back == "after":
                assert offsets(await claim(rig.queue, leased_ms + LEASE_MS, per_webhook_max=0)) == []
            wait_ms = LEASE_MS if (set_back, lease_ends) == ("before", "expired") else 0
            assert offsets(await claim(rig.queue, begin_ms + wait_ms)) == [1]

    async def test_the_delay_of_a_retry_is_counted_from_its_report_not_from_the_last_claim(self) -> None:
        hour_ms, begin_ms = 3_600_000, 10_000
        async with self.opened() as rig:
            await put(rig.queue, entry(1, "a"))
            (job,) = await claim(rig.queue, begin_ms)
            assert await rig.queue.retry(job, now_ms=hour_ms, due_ms=hour_ms + 5_000, reason="no")
            assert await claim(rig.queue, begin_ms - 1) == []
            assert await rig.queue.next_due_ms() == begin_ms - 1 + 5_000

    async def test_a_release_does_not_count_as_an_attempt(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(0, "a"))
            (job,) = await claim(rig.queue, 10)
            assert await rig.queue.release(job)
            assert await rig.queue.failure_streak("a") is None
            (again,) = await claim(rig.queue, 20)
            assert again.attempt == 1

    # --- the low-water mark, and losing everything

    async def test_q4_the_low_water_mark_is_the_first_undelivered_id(self) -> None:
        async with self.opened() as rig:
            assert await rig.queue.low_water(HERE) == NO_ENTRY
            await put(rig.queue, entry(2), entry(3, "a", "b"), entry(4, "a"), entry(6))
            jobs = {job.id: job for job in await claim(rig.queue)}
            assert await rig.queue.low_water(HERE) == (3, 0)
            await rig.queue.complete(jobs["event 3-0:a"])
            await rig.queue.complete(jobs["event 4-0:a"])
            assert await rig.queue.low_water(HERE) == (3, 0)
            await rig.queue.dead_letter(jobs["event 3-0:b"], now_ms=0)
            assert (await rig.queue.low_water(HERE), await rig.queue.low_water(THERE)) == ((6, 1), NO_ENTRY)

    async def test_q4_positions_are_the_last_and_low_water_ids_of_each_shard(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(2, "a"), entry(3), entry(4, "a"))
            await put(rig.queue, entry(7), shard=THERE)
            nowhere = Shard(HERE.topic, 9)
            expected = [QueuePosition((7, 0), (7, 1)), QueuePosition(NO_ENTRY, NO_ENTRY), QueuePosition((4, 0), (2, 0))]
            assert await rig.queue.positions([THERE, nowhere, HERE]) == expected
            assert await rig.queue.positions([]) == []
            assert [await rig.queue.last(HERE), await rig.queue.low_water(HERE)] == [(4, 0), (2, 0)]

    async def test_q4_leased_and_retried_jobs_hold_the_low_water_mark(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(3, "a"), entry(4, "a"))
            one, _ = await claim(rig.queue)
            assert await rig.queue.low_water(HERE) == (3, 0)
            await rig.queue.retry(one, now_ms=0, due_ms=9_000, reason="no")
            assert await rig.queue.low_water(HERE) == (3, 0)

    async def test_q4_a_wiped_queue_is_like_a_new_one(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(3, "a"), entry(4, "a"))
            one, _ = await claim(rig.queue)
            await rig.queue.dead_letter(one, now_ms=0)
            await rig.wipe()
            assert (await rig.queue.last(HERE), await rig.queue.low_water(HERE)) == (NO_ENTRY, NO_ENTRY)
            assert await rig.queue.stats() == QueueStats(0, 0, None)
            assert await rig.queue.failure_streak("a") is None
            assert (await rig.queue.next_due_ms(), await claim(rig.queue, 99_999)) == (None, [])

    async def test_q4_a_queue_keeps_everything_across_a_restart(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(2, "a"), entry(3, "a"), entry(4, "b", lane="one"), entry(5, "b", lane="one"))
            jobs = await claim(rig.queue, 10)
            await rig.queue.dead_letter(jobs[0], now_ms=20)
            await rig.queue.retry(jobs[1], now_ms=0, due_ms=500, reason="no")
            before = await rig.queue.stats(), await rig.queue.failure_streak("a")
            await rig.reopen()
            assert (await rig.queue.stats(), await rig.queue.failure_streak("a")) == before
            assert (await rig.queue.last(HERE), await rig.queue.low_water(HERE)) == ((5, 0), (3, 0))
            (again,) = await claim(rig.queue, 500)
            assert (again.entry.id, again.attempt, again.first_at_ms) == ((3, 0), 2, 10)
            assert await rig.queue.complete(jobs[2])
            assert offsets(await claim(rig.queue, 500)) == [5]

    # --- bounds

    async def test_q5_a_full_queue_accepts_a_prefix_and_raises(self) -> None:
        async with self.opened(jobs_max=3) as rig:
            with pytest.raises(QueueFull):
                await put(rig.queue, entry(0, "a"), entry(1), entry(2, "a", "b"), entry(3, "a"), entry(4))
            last = await rig.queue.last(HERE)
            assert last <= (2, 0)
            assert (await rig.queue.stats()).waiting <= 3
            for job in await claim(rig.queue):
                await rig.queue.complete(job)
            rest = [one for one in (entry(1), entry(2, "a", "b"), entry(3, "a"), entry(4)) if one.id > last]
            await put(rig.queue, *rest, after=last)
            assert await rig.queue.last(HERE) == (4, 0)

    async def test_q5_leased_jobs_count_and_dead_ones_do_not(self) -> None:
        async with self.opened(jobs_max=2) as rig:
            await put(rig.queue, entry(0, "a"), entry(1, "a"))
            job, _ = await claim(rig.queue)
            with pytest.raises(QueueFull):
                await put(rig.queue, entry(2, "a"), after=(1, 0))
            await rig.queue.dead_letter(job, now_ms=0)
            await put(rig.queue, entry(2, "a"), after=(1, 0))

    async def test_q5_an_entry_with_more_webhooks_than_the_limit_fits_an_empty_queue(self) -> None:
        async with self.opened(jobs_max=2) as rig:
            await put(rig.queue, entry(0, "a", "b", "c"))
            assert len(await claim(rig.queue)) == 3

    # --- drops, replays, statistics

    async def test_dropping_a_webhook_deletes_its_jobs_only(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(0, "a", "b", lane="one"), entry(1, "a", "b", lane="one"), entry(2, "a"))
            leased = next(job for job in await claim(rig.queue) if job.webhook_id == "a")
            assert await rig.queue.drop_webhook("a") == 3
            assert await rig.queue.drop_webhook("a") == await rig.queue.drop_webhook("unknown") == 0
            assert not await rig.queue.complete(leased)
            assert await rig.queue.low_water(HERE) == (0, 0)
            (job,) = await claim(rig.queue, LEASE_MS)
            assert (job.webhook_id, job.entry.id) == ("b", (0, 0))
            await rig.queue.complete(job)
            (job,) = await claim(rig.queue, LEASE_MS)
            await rig.queue.complete(job)
            assert await rig.queue.low_water(HERE) == (2, 1)
            await put(rig.queue, entry(3, "a", lane="one"), after=(2, 0))
            assert offsets(await claim(rig.queue, LEASE_MS)) == [3]

    async def test_dropping_very_many_jobs_is_complete(self) -> None:
        async with self.opened(jobs_max=5_000) as rig:
            await put(
                rig.queue,
                *(entry(number, "a", lane=f"lane {number % 7}") for number in range(2_600)),
                entry(9_999, "b"),
            )
            assert await rig.queue.drop_webhook("a") == 2_600
            assert await rig.queue.stats() == QueueStats(1, 0, 10_999)

    async def test_the_failure_streak_starts_with_the_first_failure_and_ends_with_a_success(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, *(entry(number, "a") for number in range(3)))
            one, two, three = await claim(rig.queue, 1_000)
            assert await rig.queue.failure_streak("a") is None
            await rig.queue.retry(one, now_ms=0, due_ms=2_000, reason="no")
            await rig.queue.dead_letter(two, now_ms=5_000)
            failing = await rig.queue.failure_streak("a")
            assert failing == FailureStreak(since_ms=1_000, attempts=2)
            assert await rig.queue.failure_streak("b") is None
            await rig.queue.complete(three)
            assert await rig.queue.failure_streak("a") is None

    async def test_a_replay_has_the_same_id_and_bytes_at_the_end_of_its_lane(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(0, "a", lane="one"), entry(1, "a", lane="one"))
            (job,) = await claim(rig.queue)
            await rig.queue.dead_letter(job, now_ms=0)
            assert await rig.queue.replay(HERE, job.entry, now_ms=50)
            assert await rig.queue.low_water(HERE) == (1, 0)
            (behind,) = await claim(rig.queue, 50)
            assert behind.entry.id == (1, 0)
            await rig.queue.complete(behind)
            (again,) = await claim(rig.queue, 50)
            assert (again.id, again.entry, again.attempt, again.first_at_ms) == (job.id, job.entry, 1, 50)
            await rig.queue.complete(again)
            assert await rig.queue.low_water(HERE) == (1, 1)

    async def test_a_replay_is_queued_once_however_often_it_is_requested(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(0, "a", "b"))
            for job in await claim(rig.queue):
                await rig.queue.dead_letter(job, now_ms=0)
            mine, other = entry(0, "a"), entry(0, "b")
            assert await rig.queue.replay(HERE, mine, now_ms=1)
            assert await rig.queue.replay(HERE, other, now_ms=1)
            assert not await rig.queue.replay(HERE, mine, now_ms=2)
            (leased, _) = sorted(await claim(rig.queue, 2), key=lambda job: job.webhook_id)
            assert not await rig.queue.replay(HERE, mine, now_ms=3)
            await rig.queue.retry(leased, now_ms=0, due_ms=3, reason="no")
            assert not await rig.queue.replay(HERE, mine, now_ms=3)
            await rig.queue.complete((await claim(rig.queue, 3))[0])
            assert await rig.queue.replay(HERE, mine, now_ms=4)
            assert await rig.queue.drop_webhook("a") == 1
            assert await rig.queue.replay(HERE, mine, now_ms=5)

    async def test_a_replay_can_be_queued_after_a_wipe(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(7, "a", lane="one"))
            (job,) = await claim(rig.queue)
            await rig.queue.dead_letter(job, now_ms=0)
            await rig.wipe()
            assert await rig.queue.replay(HERE, job.entry, now_ms=50)
            assert (await rig.queue.last(HERE), await rig.queue.low_water(HERE)) == (NO_ENTRY, NO_ENTRY)
            await put(rig.queue, entry(8, "a", lane="one"))
            for expected in (7, 8):
                (again,) = await claim(rig.queue, 50)
                assert again.entry.id == (expected, 0)
                assert await rig.queue.complete(again)

    async def test_the_time_of_queueing_comes_with_the_job(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, replace(entry(0, "a"), queued_at_ms=1_790_000_000_000), entry(1, "a"))
            known, unknown = await claim(rig.queue)
            assert (known.entry.queued_at_ms, unknown.entry.queued_at_ms) == (1_790_000_000_000, None)

    async def test_the_trace_of_an_entry_survives_a_replay(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, replace(entry(0, "a"), trace=TRACE), entry(1, "a"))
            first, second = await claim(rig.queue)
            assert (first.entry.trace, second.entry.trace) == (TRACE, "")
            await rig.queue.dead_letter(first, now_ms=0)
            await rig.queue.replay(HERE, first.entry, now_ms=50)
            (again,) = await claim(rig.queue, 50)
            assert again.entry == first.entry

    async def test_stats_add_up(self) -> None:
        async with self.opened() as rig:
            assert await rig.queue.stats() == QueueStats(0, 0, None)
            await put(rig.queue, entry(5, "a", "b"), entry(6, "a"), entry(7))
            assert await rig.queue.stats() == QueueStats(3, 0, 1_005)
            jobs = await claim(rig.queue, jobs_max=2)
            await rig.queue.dead_letter(jobs[0], now_ms=0)
            assert await rig.queue.stats() == QueueStats(1, 1, 1_005)

    async def test_the_backlog_of_a_webhook_has_its_jobs_its_next_retry_and_its_failures(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, *(entry(number, "a", lane=f"lane {number % 3}") for number in range(5, 10)))
            await put(rig.queue, entry(4, "a", "b"), shard=THERE)
            failed, *_ = jobs = await claim(rig.queue, 1_000, webhook_limits={"b": 0})
            assert len(jobs) == 4
            await rig.queue.retry(failed, now_ms=1_000, due_ms=6_000, reason="no")
            of_a, of_b, unknown = await rig.queue.backlogs(["a", "b", "c"], now_ms=1_000)
            assert of_a == WebhookBacklog(3, 3, 1_004, 6_000, FailureStreak(1_000, 1))
            assert of_b == WebhookBacklog(1, 0, 1_004, None, None)
            assert unknown == WebhookBacklog(0, 0, None, None, None)
            (of_a,) = await rig.queue.backlogs(["a"], now_ms=6_000)
            assert of_a.retry_at_ms is None, "it is due now"
            await rig.queue.drop_webhook("a")
            assert await rig.queue.backlogs(["a", "b"], now_ms=6_000) == [unknown, of_b]

    async def test_a_replay_is_as_old_as_its_change(self) -> None:
        async with self.opened() as rig:
            await put(rig.queue, entry(0, "a"), entry(1, "a"))
            (job, _) = await claim(rig.queue)
            await rig.queue.dead_letter(job, now_ms=0)
            assert (await rig.queue.backlogs(["a"], now_ms=0))[0].oldest_at_ms == 1_001
            await rig.queue.replay(HERE, job.entry, now_ms=50)
            (backlog,) = await rig.queue.backlogs(["a"], now_ms=0)
            assert (backlog.waiting, backlog.leased, backlog.oldest_at_ms) == (1, 1, 1_000)

    async def test_the_newest_attempts_of_each_webhook_are_kept(self) -> None:
        async with self.opened() as rig:
            await rig.queue.keep_attempts([attempt("b", 0)])
            for start in range(0, 2 * ATTEMPTS_MAX, 20):
                await rig.queue.keep_attempts([attempt("a", number) for number in range(start, start + 20)])
            await rig.queue.keep_attempts([attempt("c", number) for number in range(2 * ATTEMPTS_MAX)])
            await rig.reopen()
            of_a, of_b, of_c, of_d = await rig.queue.attempts(["a", "b", "c", "d"], attempts_max=2 * ATTEMPTS_MAX)
            newest = range(2 * ATTEMPTS_MAX - 1, ATTEMPTS_MAX - 1, -1)
            assert of_a == [attempt("a", number) for number in newest]
            assert ([one.at_ms for one in of_c], of_d) == ([*newest], [])
            assert of_b == [attempt("b", 0)]
            await rig.queue.keep_attempts([attempt("a", 1_000), attempt("a", 1_001)])
            assert await rig.queue.attempts(["a"], attempts_max=1) == [[attempt("a", 1_001)]]
            await rig.queue.forget_attempts("a")
            assert await rig.queue.attempts(["a"], attempts_max=1) == [[]]

    @settings(suppress_health_check=[*HealthCheck])
    @given(actions=st.lists(st.from_type(Action), max_size=60))
    async def test_random_histories_agree_with_the_model(self, actions: list[Action]) -> None:
        async with self.opened(jobs_max=12) as rig:
            history = History(rig, jobs_max=12)
            for action in actions:
                await history.act(action)
            await history.finish()
