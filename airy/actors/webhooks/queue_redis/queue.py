"""The webhook queue on Redis, shared by any number of publishers and dispatchers. Asyncio only, as its client is.

Per shard, a stream whose ids are the positions holds what is undelivered, and everything else is derived from it: see
`shard.lua` and docs/decisions/0009. Here: which scripts are called when, and what spans shards.
"""

import heapq
from collections.abc import Sequence

from airy.actors.webhooks.queue import NOTHING, Dead, Entry, EntryId, Failing, Job, QueueStats, Shard
from airy.actors.webhooks.queue_redis import scripts
from airy.actors.webhooks.queue_redis.allot import Take, Waiting, allot
from airy.actors.webhooks.queue_redis.ear import Ear
from airy.actors.webhooks.queue_redis.intake import Intake
from airy.actors.webhooks.queue_redis.keys import (
    Names,
    Token,
    entry_id,
    lane_key,
    pack,
    pack_dead,
    token_of,
    unpack,
    unpack_dead,
)
from airy.actors.webhooks.queue_redis.reports import Report, Reports
from airy.actors.webhooks.queue_redis.shards import Shards
from airy.actors.webhooks.queue_redis.wire import Call, Wire, command, script
from airy.clock import Ids, RandomIds
from airy.errors import Unavailable
from airy.secret import Secret

SURVEYS_MAX = 20  # per claim: each copies some hundred entries of every shard that has them
REPORTS_PER_CALL_MAX = 50  # so that no script holds up Redis for long
DROP_JOBS_MAX = 500


class RedisQueue:
    """`jobs_max` is how much may wait or be leased, `dead_max` how many buried deliveries are kept; both in all."""

    def __init__(
        self, url: str | Secret, *, namespace: str = "", cluster: bool = False, jobs_max: int = 1_000_000,
        dead_max: int = 10_000, ids: Ids | None = None,
    ) -> None:  # fmt: skip
        self._names = Names(namespace)
        self._wire = Wire(url, cluster=cluster)
        self._ids = ids or RandomIds()
        self._shards = Shards(self._wire, self._names, self._ids)
        self._intake = Intake(self._wire, self._names, self._shards, jobs_max=jobs_max)
        self._ear = Ear(self._wire, self._names.arrivals)
        self._reports = Reports(self._settled)
        self._dead_max = dead_max
        self._opening = ""  # part of every token: one from before a restart fits nothing
        self._leases = 0
        self._claimed_at_ms: int | None = None

    async def open(self) -> None:
        self._opening = self._ids.new()
        await self._wire.open()
        try:
            await self._shards.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._ear.close()
        await self._wire.close()

    # --- the publisher's side

    async def last(self, shard: Shard) -> EntryId:
        return await self._intake.last(shard)

    async def put(self, shard: Shard, entries: Sequence[Entry], *, after: EntryId) -> None:
        await self._intake.put(shard, entries, after=after)

    async def low_water(self, shard: Shard) -> EntryId:
        low, last = await self._wire.one(script(scripts.LOW, self._names.base(shard), self._before_ms))
        if low:
            return entry_id(low)
        offset, nth = entry_id(last)
        return NOTHING if (offset, nth) == NOTHING else (offset, nth + 1)

    # --- the dispatcher's side

    async def claim(
        self, *, now_ms: int, lease_ms: int, jobs_max: int, per_webhook_max: int,
        not_webhooks: frozenset[str] = frozenset(),
    ) -> list[Job]:  # fmt: skip
        """Two round trips: what is there, then the leases. Another dispatcher in between may leave us fewer, and
        `per_webhook_max` may be passed by what two claim at the same moment.
        """
        before_ms = min(now_ms, self._before_ms if self._claimed_at_ms is not None else now_ms)
        self._claimed_at_ms = now_ms
        self._leases += 1
        found: dict[Shard, dict[str, Waiting]] = {}
        takes: dict[Shard, Take] = {}
        for _ in range(SURVEYS_MAX):
            more = await self._survey(found, now_ms, before_ms)
            takes = allot(
                found, jobs_max=jobs_max, per_webhook_max=per_webhook_max, not_webhooks=not_webhooks, turn=self._leases
            )
            if not more or sum(take.jobs for take in takes.values()) >= jobs_max:
                break
        return await self._lease(takes, now_ms, now_ms + lease_ms) if takes else []

    async def _survey(self, found: dict[Shard, dict[str, Waiting]], now_ms: int, before_ms: int) -> bool:
        """Look into every shard; whether some have more to be copied. Those that cannot be asked are passed over."""
        more, asked = False, set[Shard]()
        while True:
            shards = [shard for shard in self._shards.known if shard not in asked]
            peeks = [script(scripts.PEEK, self._names.base(shard), now_ms, before_ms) for shard in shards]
            names, *answers = await self._wire.attempt([command("SMEMBERS", self._names.shards), *peeks])
            if all(isinstance(answer, Unavailable) for answer in (names, *answers)):
                raise names
            if not isinstance(names, Unavailable):
                self._shards.learn(names)
            for shard, answer in zip(shards, answers, strict=True):
                asked.add(shard)
                left, *rest = [0] if isinstance(answer, Unavailable) else answer
                more = more or bool(left)
                found[shard] = {
                    name.decode(): Waiting(leased, due)
                    for name, leased, due in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
                }
            if asked.issuperset(self._shards.known):
                return more

    async def _lease(self, takes: dict[Shard, Take], now_ms: int, until_ms: int) -> list[Job]:
        lease = f"{self._opening}.{self._leases}"
        calls = []
        for shard, take in takes.items():
            rooms = [word for room in take.of.items() for word in room]
            token = (now_ms, until_ms, lease, take.jobs)
            calls.append(script(scripts.LEASE, self._names.base(shard), *token, *rooms))
        leased: list[list[Job]] = []
        for shard, answer in zip(takes, await self._wire.attempt(calls), strict=True):
            if isinstance(answer, Unavailable):
                continue  # what it may have leased comes back when the lease runs out
            rows = zip(*(answer[place::5] for place in range(5)), strict=True)
            leased.append([
                _job(Token(lease, seq.decode(), shard), hook.decode(), attempt, int(first_at), content, until_ms)
                for seq, hook, attempt, first_at, content in rows
            ])  # fmt: skip
        return list(heapq.merge(*leased, key=lambda job: job.entry.at_ms))

    async def next_due_ms(self) -> int | None:
        answers = await self._wire.attempt([script(scripts.DUE, base, self._before_ms) for base in await self._bases()])
        if answers and all(isinstance(answer, Unavailable) for answer in answers):
            raise answers[0]
        due = [int(float(answer)) for answer in answers if answer and not isinstance(answer, Unavailable)]
        return min(due, default=None)

    async def arrived(self, within_s: float) -> None:
        """Returns once anybody has put or replayed something, or after `within_s`. A hint."""
        await self._ear.heard(within_s)

    # --- outcomes

    async def done(self, job: Job) -> bool:
        return await self._reports.add(Report(job, "done"))

    async def retry(self, job: Job, *, due_ms: int, reason: str) -> bool:
        return await self._reports.add(Report(job, "retry", due_ms, reason))

    async def release(self, job: Job) -> bool:
        return await self._reports.add(Report(job, "release"))

    async def bury(self, job: Job, *, reason: str, now_ms: int) -> bool:
        return await self._reports.add(Report(job, "bury", now_ms, reason))

    async def _settled(self, reports: Sequence[Report]) -> Sequence[bool]:
        places: dict[Shard, list[int]] = {}
        tokens = [token_of(report.job.token) for report in reports]
        for place, token in enumerate(tokens):
            places.setdefault(token.shard, []).append(place)
        parts = [
            (shard, of[begin : begin + REPORTS_PER_CALL_MAX])
            for shard, of in places.items() for begin in range(0, len(of), REPORTS_PER_CALL_MAX)
        ]  # fmt: skip
        calls = [
            script(
                scripts.SETTLE, self._names.base(shard), self._before_ms,
                *(word for place in part for word in _words(reports[place], tokens[place])),
            )
            for shard, part in parts
        ]  # fmt: skip
        worked = dict.fromkeys(report.job.webhook_id for report in reports if report.verb == "done")
        answers = [False] * len(reports)
        said = await self._wire.run([*(command("DEL", self._names.failing(name)) for name in worked), *calls])
        for (_, part), valid in zip(parts, said[len(worked) :], strict=True):
            for place, each in zip(part, valid, strict=True):
                answers[place] = bool(each)
        held = [report for report, answer in zip(reports, answers, strict=True) if answer]
        await self._count_failures([report for report in held if report.verb in ("retry", "bury")])
        if any(report.verb == "bury" for report in held):
            await self._forget_dead()
        return answers

    async def _count_failures(self, reports: Sequence[Report]) -> None:
        """In keys of their own, after the fact: a failure that is not counted matters to nobody."""
        calls = []
        for report in reports:
            since_ms = report.at_ms if report.verb == "bury" else self._before_ms
            calls.append(script(scripts.FAILED, self._names.failing(report.job.webhook_id), since_ms))
        if calls:
            await self._wire.run(calls)

    async def failing(self, webhook_id: str) -> Failing | None:
        since, attempts = await self._wire.one(command("HMGET", self._names.failing(webhook_id), "since", "attempts"))
        return Failing(int(since), int(attempts)) if since and attempts else None

    async def drop_webhook(self, webhook_id: str) -> int:
        bases = uncopied = await self._bases()
        while uncopied:
            more = await self._wire.run([script(scripts.COPY, base, self._before_ms) for base in uncopied])
            uncopied = [base for base, some in zip(uncopied, more, strict=True) if some]
        dropped = 0
        while bases:
            calls = [script(scripts.DROP, base, webhook_id, self._before_ms, DROP_JOBS_MAX) for base in bases]
            answers = await self._wire.run(calls)
            dropped += sum(count for count, _ in answers)
            bases = [base for base, (_, more) in zip(bases, answers, strict=True) if more]
        await self._wire.one(command("DEL", self._names.failing(webhook_id)))
        return dropped

    # --- the dead, and figures

    async def dead(self, *, webhook_id: str | None = None, dead_max: int = 100) -> list[Dead]:
        ending = "" if webhook_id is None else f":{webhook_id}"
        found: list[tuple[float, Dead]] = []
        calls = [script(scripts.DEAD, base, ending, dead_max) for base in await self._bases()]
        for answer in await self._wire.run(calls):
            found += ((float(at), unpack_dead(data)[0]) for at, data in zip(answer[::2], answer[1::2], strict=True))
        found = [one for one in found if webhook_id in (None, one[1].webhook_id)]
        return [dead for _, dead in sorted(found, key=lambda one: -one[0])[:dead_max]]

    async def _forget_dead(self) -> None:
        """The oldest beyond `dead_max`, in whichever shard they are."""
        bases = await self._bases()
        excess = sum(await self._wire.run([command("ZCARD", f"{base}:graves") for base in bases])) - self._dead_max
        if excess <= 0:
            return
        calls = [script(scripts.GRAVES, base, excess) for base in bases]
        graves = sorted(float(at) for answer in await self._wire.run(calls) for at in answer)
        await self._wire.run([script(scripts.FORGET, base, f"{graves[excess - 1]:.0f}") for base in bases])

    async def replay(self, job_id: str, *, now_ms: int) -> bool:
        self._claimed_at_ms = now_ms
        bases = await self._bases()
        for base, data in zip(
            bases, await self._wire.run([command("HGET", f"{base}:dead", job_id) for base in bases]), strict=True
        ):
            if data is not None:
                dead, entry = unpack_dead(data)
                words = (job_id, dead.webhook_id, lane_key(entry), entry.at_ms, pack(entry), now_ms)
                replayed = await self._wire.one(script(scripts.REPLAY, base, *words))
                await self._wire.one(Call(("PUBLISH", self._names.arrivals, "")))
                return bool(replayed)
        return False

    async def stats(self) -> QueueStats:
        answers = await self._wire.run([
            script(scripts.STATS, base, self._before_ms) for base in await self._bases()
        ])  # fmt: skip
        jobs, leased, dead = (sum(answer[place] for answer in answers) for place in range(3))
        return QueueStats(
            jobs - leased, leased, dead, min((int(float(at)) for *_, at in answers if at), default=None)
        )  # fmt: skip

    # --- inside

    @property
    def _before_ms(self) -> int:
        """The time of our last claim: what comes in after it is due since then, so it keeps its place among retries."""
        return self._claimed_at_ms or 0

    async def _bases(self) -> list[str]:
        return [self._names.base(shard) for shard in await self._shards.current()]


def _job(token: Token, webhook_id: str, attempt: int, first_at_ms: int, content: bytes, until_ms: int) -> Job:
    entry = unpack(content, webhook_id)
    job_id = f"{entry.event_id}:{webhook_id}"
    return Job(job_id, token.text(webhook_id), webhook_id, entry, attempt, first_at_ms, until_ms)


def _words(report: Report, token: Token) -> tuple[str | int | bytes, ...]:
    job = report.job
    dead = pack_dead(job, report.reason, report.at_ms) if report.verb == "bury" else b""
    return report.verb, job.webhook_id, token.seq, token.lease, report.at_ms, job.id, dead
