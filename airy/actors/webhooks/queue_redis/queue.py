"""The webhook queue on Redis, shared by any number of publishers and dispatchers. Asyncio only, as its client is.

Per shard, a stream whose ids are the positions holds what is undelivered, and everything else is derived from it: see
`shard.lua` and docs/decisions/0009. Here: which scripts are called when, and what spans shards.
"""

import heapq
from collections.abc import Sequence

from airy.actors.webhooks.queue import NOTHING, Entry, EntryId, Failing, Job, Mark, QueueStats, Shard
from airy.actors.webhooks.queue_redis import permissions, scripts
from airy.actors.webhooks.queue_redis.allot import Take, Waiting, allot
from airy.actors.webhooks.queue_redis.ear import Ear
from airy.actors.webhooks.queue_redis.intake import Intake
from airy.actors.webhooks.queue_redis.keys import (
    Names,
    Token,
    entry_id,
    lane_key,
    pack,
    shard_name,
    token_of,
    unpack,
)
from airy.actors.webhooks.queue_redis.reports import Report, Reports
from airy.actors.webhooks.queue_redis.server import Server
from airy.actors.webhooks.queue_redis.shards import Shards
from airy.actors.webhooks.queue_redis.wire import Call, Denied, Wire, command, script
from airy.clock import Ids, RandomIds
from airy.errors import Refused, Unavailable
from airy.secret import Secret

SURVEYS_MAX = 20  # per claim: each copies some hundred entries of every shard that has them
REPORTS_PER_CALL_MAX = 50  # so that no script holds up Redis for long
DROP_JOBS_MAX = 500


class RedisQueue:
    """`jobs_max` is how much may wait or be leased, in all."""

    def __init__(
        self,
        at: Server | str,
        *,
        namespace: str = "",
        cluster: bool = False,
        jobs_max: int = 1_000_000,
        ids: Ids | None = None,
    ) -> None:
        self._names = Names(namespace)
        self._server = Server(url=Secret(at), cluster=cluster) if isinstance(at, str) else at
        self._wire = Wire(self._server)
        self._ids = ids or RandomIds()
        self._shards = Shards(self._wire, self._names, self._ids)
        self._intake = Intake(self._wire, self._names, self._shards, jobs_max=jobs_max)
        self._ear = Ear(self._wire, self._names.arrivals)
        self._reports = Reports(self._settled)
        self._opening = ""  # part of every token: one from before a restart fits nothing
        self._leases = 0
        self._claimed_at_ms: int | None = None

    async def open(self) -> None:
        """Raises `Refused` where Redis would not let us do everything we have to."""
        self._opening = self._ids.new()
        await self._wire.open()
        try:
            await self._may()
            await self._shards.open()
        except Denied as denied:
            await self.close()
            raise Refused(str(denied), field="queue.redis") from denied
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._ear.close()
        await self._wire.close()

    # --- the publisher's side

    async def last(self, shard: Shard) -> EntryId:
        return (await self._mark(shard)).last

    async def put(self, shard: Shard, entries: Sequence[Entry], *, after: EntryId) -> None:
        await self._intake.put(shard, entries, after=after)

    async def low_water(self, shard: Shard) -> EntryId:
        return (await self._mark(shard)).low

    async def marks(self, shards: Sequence[Shard]) -> list[Mark | Unavailable]:
        await self._shards.look()
        calls = [script(scripts.LOW, self._names.base(shard), self._before_ms) for shard in shards]
        found = [
            answer if isinstance(answer, Unavailable) else _mark(*answer) for answer in await self._wire.attempt(calls)
        ]
        for shard, mark in zip(shards, found, strict=True):
            if isinstance(mark, Mark) and mark.last != NOTHING:
                await self._shards.mine(shard)
        return found

    async def _mark(self, shard: Shard) -> Mark:
        (mark,) = await self.marks([shard])
        if isinstance(mark, Unavailable):
            raise mark
        return mark

    # --- the dispatcher's side

    async def claim(
        self,
        *,
        now_ms: int,
        lease_ms: int,
        jobs_max: int,
        per_webhook_max: int,
        not_webhooks: frozenset[str] = frozenset(),
    ) -> list[Job]:
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
            leased.append(
                [
                    _job(Token(lease, seq.decode(), shard), hook.decode(), attempt, int(first_at), content, until_ms)
                    for seq, hook, attempt, first_at, content in rows
                ]
            )
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
        del reason  # nobody reads it here
        return await self._reports.add(Report(job, "retry", due_ms))

    async def release(self, job: Job) -> bool:
        return await self._reports.add(Report(job, "release"))

    async def bury(self, job: Job, *, now_ms: int) -> bool:
        return await self._reports.add(Report(job, "bury", now_ms))

    async def _settled(self, reports: Sequence[Report]) -> Sequence[bool]:
        places: dict[Shard, list[int]] = {}
        tokens = [token_of(report.job.token) for report in reports]
        for place, token in enumerate(tokens):
            places.setdefault(token.shard, []).append(place)
        parts = [
            (shard, of[begin : begin + REPORTS_PER_CALL_MAX])
            for shard, of in places.items()
            for begin in range(0, len(of), REPORTS_PER_CALL_MAX)
        ]
        calls = [
            script(
                scripts.SETTLE,
                self._names.base(shard),
                self._before_ms,
                *(word for place in part for word in _words(reports[place], tokens[place])),
            )
            for shard, part in parts
        ]
        worked = dict.fromkeys(report.job.webhook_id for report in reports if report.verb == "done")
        answers = [False] * len(reports)
        said = await self._wire.run([*(command("DEL", self._names.failing(name)) for name in worked), *calls])
        for (_, part), valid in zip(parts, said[len(worked) :], strict=True):
            for place, each in zip(part, valid, strict=True):
                answers[place] = bool(each)
        held = [report for report, answer in zip(reports, answers, strict=True) if answer]
        await self._count_failures([report for report in held if report.verb in ("retry", "bury")])
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

    # --- what was buried, and figures

    async def replay(self, shard: Shard, entry: Entry, *, now_ms: int) -> bool:
        self._claimed_at_ms = now_ms
        (webhook_id,) = entry.webhook_ids
        words = (f"{entry.event_id}:{webhook_id}", webhook_id, lane_key(entry), entry.at_ms, pack(entry), now_ms)
        _, replayed, _ = await self._wire.run(
            [
                command("SADD", self._names.shards, shard_name(shard)),
                script(scripts.REPLAY, self._names.base(shard), *words),
                Call(("PUBLISH", self._names.arrivals, "")),
            ]
        )
        self._shards.known[shard] = None
        return bool(replayed)

    async def stats(self) -> QueueStats:
        answers = await self._wire.run([script(scripts.STATS, base, self._before_ms) for base in await self._bases()])
        jobs, leased = (sum(answer[place] for answer in answers) for place in range(2))
        return QueueStats(jobs - leased, leased, min((int(float(at)) for *_, at in answers if at), default=None))

    # --- inside

    async def _may(self) -> None:
        """Ask for every permission at once, so that no command is missed in the middle of the work."""
        trials = list(permissions.trials(self._names, cluster=self._server.cluster))
        await self._wire.everywhere(("SCRIPT LOAD", scripts.ALLOWED.text))
        answers = await self._wire.everywhere(("EVALSHA", scripts.ALLOWED.sha, 0, *trials))
        missing = sorted({name.decode() for (answer,) in answers for name in answer})
        if missing:
            raise Denied(f"redis lets our user not run {', '.join(missing)}: `airy queue acl` prints what it needs")

    @property
    def _before_ms(self) -> int:
        """The time of our last claim: what comes in after it is due since then, so it keeps its place among retries."""
        return self._claimed_at_ms or 0

    async def _bases(self) -> list[str]:
        return [self._names.base(shard) for shard in await self._shards.current()]


def _mark(low: bytes, last: bytes) -> Mark:
    at = entry_id(last)
    if low:
        return Mark(at, entry_id(low))
    return Mark(at, NOTHING if at == NOTHING else (at[0], at[1] + 1))


def _job(token: Token, webhook_id: str, attempt: int, first_at_ms: int, content: bytes, until_ms: int) -> Job:
    entry = unpack(content, webhook_id)
    job_id = f"{entry.event_id}:{webhook_id}"
    return Job(job_id, token.text(webhook_id), webhook_id, entry, attempt, first_at_ms, until_ms)


def _words(report: Report, token: Token) -> tuple[str | int | bytes, ...]:
    return report.verb, report.job.webhook_id, token.seq, token.lease, report.at_ms
