"""A webhook queue in plain Python lists, and random histories that compare a real one with it.

The model does not choose what a claim leases: it checks that the queue's choice was allowed and complete, and adopts
it. Whether an expired lease that was not claimed again still counts is left to the queue.
"""

from collections import Counter
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from airy.queue.api import NO_ENTRY, EntryId, Job, PositionConflict, QueueEntry, QueueFull, Shard, WebhookQueue

LEASE_MS = 1_000
SHARDS = (Shard("events", 0), Shard("events", 1))
WEBHOOKS = ("a", "b", "c")


class Rig(Protocol):
    """A queue under test."""

    queue: WebhookQueue

    async def reopen(self) -> None:
        """Closes and opens it, keeping what it holds."""
        ...

    async def wipe(self) -> None:
        """Loses everything while it is open."""
        ...


class Action(Struct, frozen=True):
    """One step; numbers are taken modulo the number of choices."""

    verb: int
    which: int
    how: int


class Waiting(Struct, eq=False):
    """A delivery in the model."""

    shard: Shard | None  # None: replayed
    entry: QueueEntry
    webhook_id: str
    due_ms: int = 0
    attempt: int = 0
    leased_until_ms: int | None = None
    token: str | None = None
    lapsed: str | None = None  # token of an expired lease, until the job is claimed again

    @property
    def lane(self) -> tuple[str, str]:
        return self.webhook_id, self.entry.lane

    @property
    def delivery(self) -> tuple[str, str]:
        return self.webhook_id, self.entry.event_id

    @property
    def home(self) -> Shard:
        """The shard its lane belongs to."""
        return SHARDS[int(self.entry.lane.removeprefix("lane ").partition(".")[0])]


class History:
    def __init__(self, rig: Rig, *, jobs_max: int) -> None:
        self._rig = rig
        self._jobs_max = jobs_max
        self._now_ms = 0
        self._offset = 0  # of the log; never decreases
        self._last = dict.fromkeys(SHARDS, NO_ENTRY)
        self._jobs: list[Waiting] = []  # in order of arrival
        self._dead: list[Waiting] = []
        self._leased: list[Job] = []  # every job ever leased, with valid and with old tokens
        verbs = (
            self._put,
            self._put,
            self._put,
            self._claim,
            self._claim,
            self._claim,
            self._settle,
            self._settle,
            self._settle,
            self._sleep,
            self._replay,
            self._drop,
            self._conflict,
            self._reopen,
            self._wipe,
        )
        self._verbs = verbs

    @property
    def _queue(self) -> WebhookQueue:
        return self._rig.queue

    async def act(self, action: Action) -> None:
        await self._verbs[action.verb % len(self._verbs)](abs(action.which), abs(action.how))
        await self._compare()

    async def finish(self) -> None:
        """Delivers everything: each lane in order, nothing missing, nothing twice."""
        expected = {lane: [job for job in self._jobs if job.lane == lane] for lane in {job.lane for job in self._jobs}}
        delivered: dict[tuple[str, str], list[QueueEntry]] = {lane: [] for lane in expected}
        self._now_ms += 1_000_000
        while jobs := await self._queue.claim(now_ms=self._now_ms, lease_ms=LEASE_MS, jobs_max=5, per_webhook_max=2):
            for job in jobs:
                delivered[job.webhook_id, job.entry.lane].append(job.entry)
                assert await self._queue.complete(job)
        for lane, entries in delivered.items():
            assert [entry.id for entry in entries] == [job.entry.id for job in expected[lane]]
        self._jobs = []
        await self._compare()

    # --- actions

    async def _put(self, which: int, how: int) -> None:
        shard = SHARDS[which % len(SHARDS)]
        entries = [self._entry(shard, which + number, how + number) for number in range(how % 3 + 1)]
        try:
            await self._queue.put(shard, entries, after=self._last[shard])
            put = entries
        except QueueFull:
            last = await self._queue.last(shard)
            put = [entry for entry in entries if entry.id <= last]
            assert len(put) < len(entries)
            left = entries[len(put)]
            assert len(self._jobs) + sum(len(e.webhook_ids) for e in [*put, left]) > self._jobs_max
        for entry in put:
            self._last[shard] = entry.id
            self._jobs += [Waiting(shard, entry, name) for name in entry.webhook_ids]

    def _entry(self, shard: Shard, which: int, how: int) -> QueueEntry:
        """A lane belongs to a shard, as a conversation to a partition."""
        self._offset += 1 + which % 2
        webhook_ids = tuple(name for bit, name in enumerate(WEBHOOKS) if how >> bit & 1)
        id_: EntryId = (self._offset, which % 3)
        lane = f"lane {shard.partition}.{which % 2}"
        return QueueEntry(id_, webhook_ids, lane, f"event {id_}", "message.created", b"{}", 0, "")

    async def _conflict(self, which: int, how: int) -> None:
        shard = SHARDS[which % len(SHARDS)]
        last = self._last[shard]
        after = NO_ENTRY if last != NO_ENTRY and how % 2 else (self._offset, 7)
        try:
            await self._queue.put(shard, [self._entry(shard, which + 2, 7)], after=after)
        except PositionConflict as stale:
            assert stale.last == last
        else:
            raise AssertionError(f"{after} is not where the queue is: {last}")

    async def _claim(self, which: int, how: int) -> None:
        jobs_max, per_webhook_max = which % 5, how % 3 + 1
        left_out = dict.fromkeys(WEBHOOKS[:1], 0) if how % 5 == 0 else dict[str, int]()
        claimed = await self._queue.claim(
            now_ms=self._now_ms,
            lease_ms=LEASE_MS,
            jobs_max=jobs_max,
            per_webhook_max=per_webhook_max,
            webhook_limits=left_out,
        )
        for one in self._jobs:
            if one.leased_until_ms is not None and one.leased_until_ms <= self._now_ms:
                one.lapsed = one.token
                one.leased_until_ms = one.token = None
        due = [job for job in self._heads() if job.token is None and job.due_ms <= self._now_ms]
        rooms = {
            name: 0
            if name in left_out
            else max(0, per_webhook_max - sum(job.webhook_id == name and job.token is not None for job in self._jobs))
            for name in WEBHOOKS
        }
        possible = sum(min(rooms[name], sum(job.webhook_id == name for job in due)) for name in WEBHOOKS)
        assert len(claimed) == min(jobs_max, possible)
        for job in claimed:
            (waiting,) = [one for one in due if one.entry.id == job.entry.id and one.webhook_id == job.webhook_id]
            due.remove(waiting)
            rooms[job.webhook_id] -= 1
            waiting.attempt += 1
            waiting.token, waiting.leased_until_ms = job.token, self._now_ms + LEASE_MS
            waiting.lapsed = None
            assert (job.attempt, job.entry.body) == (waiting.attempt, waiting.entry.body)
        assert min(rooms.values(), default=0) >= 0
        self._leased += claimed

    async def _settle(self, which: int, how: int) -> None:
        if not self._leased:
            return
        job = self._leased[which % len(self._leased)]
        held = [one for one in self._jobs if job.token in (one.token, one.lapsed)]
        due_ms = self._now_ms + how % 3_000
        answer = await self._report(job, how % 4, due_ms)
        if not held:
            assert not answer
            return
        (waiting,) = held
        if not answer:
            assert waiting.lapsed is not None or (waiting.leased_until_ms or 0) <= self._now_ms
            return
        waiting.token = waiting.leased_until_ms = waiting.lapsed = None
        if how % 4 == 1:
            waiting.due_ms = due_ms
        elif how % 4 == 2:
            waiting.attempt -= 1
        else:
            self._jobs.remove(waiting)
            if how % 4 == 3:
                self._dead.append(waiting)

    async def _report(self, job: Job, how: int, due_ms: int) -> bool:
        if how == 0:
            return await self._queue.complete(job)
        if how == 1:
            return await self._queue.retry(job, now_ms=self._now_ms, due_ms=due_ms, reason="no")
        if how == 2:
            return await self._queue.release(job)
        return await self._queue.dead_letter(job, now_ms=self._now_ms)

    async def _sleep(self, which: int, how: int) -> None:
        self._now_ms += which % 700 + how % 700

    async def _replay(self, which: int, how: int) -> None:
        """A dead delivery, possibly replayed already, whether the queue has lost everything since or not."""
        if not self._dead:
            return
        one = self._dead[which % len(self._dead)]
        entry = replace(one.entry, webhook_ids=(one.webhook_id,))
        waits = any(job.shard is None and job.delivery == one.delivery for job in self._jobs)
        assert await self._queue.replay(one.home, entry, now_ms=self._now_ms) is not waits
        if not waits:
            self._jobs.append(Waiting(None, one.entry, one.webhook_id))
        elif how % 2:
            self._dead.remove(one)

    async def _drop(self, which: int, _how: int) -> None:
        name = WEBHOOKS[which % len(WEBHOOKS)]
        assert await self._queue.drop_webhook(name) == sum(job.webhook_id == name for job in self._jobs)
        self._jobs = [job for job in self._jobs if job.webhook_id != name]

    async def _reopen(self, _which: int, _how: int) -> None:
        await self._rig.reopen()

    async def _wipe(self, _which: int, _how: int) -> None:
        await self._rig.wipe()
        self._jobs = []
        self._last = dict.fromkeys(SHARDS, NO_ENTRY)

    # --- comparison

    def _heads(self) -> list[Waiting]:
        heads: dict[tuple[str, str], Waiting] = {}
        for job in self._jobs:
            heads.setdefault(job.lane, job)
        return list(heads.values())

    async def _compare(self) -> None:
        for shard, last in self._last.items():
            undelivered = [job.entry.id for job in self._jobs if job.shard == shard]
            low = min(undelivered) if undelivered else (last[0], last[1] + 1) if last != NO_ENTRY else NO_ENTRY
            assert (await self._queue.last(shard), await self._queue.low_water(shard)) == (last, low)
        stats = await self._queue.stats()
        assert stats.waiting + stats.leased == len(self._jobs)
        backlogs = await self._queue.backlogs(WEBHOOKS, now_ms=self._now_ms)
        per_webhook = Counter(job.webhook_id for job in self._jobs)
        assert [one.waiting + one.leased for one in backlogs] == [per_webhook[name] for name in WEBHOOKS]
        await self._compare_due()

    async def _compare_due(self) -> None:
        """For a job that is due already, any time in the past is correct."""
        due_ms = await self._queue.next_due_ms()
        expected = [job.leased_until_ms if job.leased_until_ms is not None else job.due_ms for job in self._heads()]
        if expected:
            assert due_ms is not None
            assert max(due_ms, self._now_ms) == max(min(expected), self._now_ms)
        else:
            assert due_ms is None
