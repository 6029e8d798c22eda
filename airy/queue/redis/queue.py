"""The webhook queue on Redis, shared by any number of publishers and dispatchers. Asyncio only, as its client is.

Each shard is a stream of undelivered entries whose ids are their positions; everything else is derived from it: see
`shard.lua` and docs/decisions/0009. This module decides which scripts run when, and what spans shards.
"""

import heapq
from collections.abc import Mapping, Sequence

from airy.batcher import Batcher
from airy.clock import Ids, RandomIds
from airy.errors import Refused, Unavailable
from airy.model.delivery_attempt import DeliveryAttempt
from airy.queue.api import (
    ATTEMPTS_MAX,
    NO_ENTRY,
    NO_LIMITS,
    EntryId,
    FailureStreak,
    Job,
    QueueEntry,
    QueuePosition,
    QueueStats,
    Shard,
    WebhookBacklog,
)
from airy.queue.fair_shares import Divide, evenly
from airy.queue.outcome import JobOutcome
from airy.queue.redis import permissions, scripts
from airy.queue.redis.allocation import ShardAllocation, WebhookLoad, allocate
from airy.queue.redis.arrival_listener import ArrivalListener
from airy.queue.redis.attempts import AttemptStreams
from airy.queue.redis.backlog import read_backlogs
from airy.queue.redis.connection import RedisCommand, RedisConnection, command, script
from airy.queue.redis.enqueue import Enqueuer
from airy.queue.redis.errors import AccessDenied
from airy.queue.redis.keys import (
    KeyNames,
    LeaseToken,
    entry_id,
    lane_key,
    pack,
    parse_token,
    shard_name,
    unpack,
)
from airy.queue.redis.server_clock import ServerClock
from airy.queue.redis.settings import RedisSettings
from airy.queue.redis.shard_registry import ShardRegistry
from airy.secret import Secret

SURVEYS_MAX = 20  # per claim: each copies some hundred entries of every shard that has them
GATHER_TURNS = 2  # event loop turns to wait for more workers
OUTCOMES_MAX = 1_000  # per round trip
OUTCOMES_PER_CALL_MAX = 50  # bounds how long one script blocks Redis
DROP_JOBS_MAX = 500


CLAIM_INTERVAL_S = 0.01  # a claim asks every shard, over a network


class RedisQueue:
    """`jobs_max` bounds the jobs that wait or are leased, over all shards."""

    def __init__(
        self,
        at: RedisSettings | str,
        *,
        namespace: str = "",
        cluster: bool = False,
        jobs_max: int = 1_000_000,
        ids: Ids | None = None,
    ) -> None:
        self.claim_interval_s = CLAIM_INTERVAL_S
        self.legacy_dead_letters = None
        self._names = KeyNames(namespace)
        self._settings = RedisSettings(url=Secret(at), cluster=cluster) if isinstance(at, str) else at
        self._connection = RedisConnection(self._settings)
        self._ids = ids or RandomIds()
        self._registry = ShardRegistry(self._connection, self._names, self._ids)
        self._enqueuer = Enqueuer(self._connection, self._names, self._registry, jobs_max=jobs_max)
        self._attempts = AttemptStreams(self._connection, self._names)
        self._arrivals = ArrivalListener(self._connection, self._names.arrivals)
        self._outcomes = Batcher(self._settle, items_max=OUTCOMES_MAX, gather_turns=GATHER_TURNS)
        self._opening = ""  # part of every token, so that a token from before a restart matches nothing
        self._leases = 0
        self._clock = ServerClock()
        self._claimed_at_ms: int | None = None
        self._clamped = False  # since the start, and since the clock was last set back

    async def open(self) -> None:
        """Raises `Refused` where Redis denies a command that the queue needs."""
        self._opening = self._ids.new()
        await self._connection.open()
        try:
            await self._check_permissions()
            self._read_clock(await self._connection.execute_one(RedisCommand(("TIME",))))
            await self._registry.open()
        except AccessDenied as denied:
            await self.close()
            raise Refused(str(denied), field="queue.redis") from denied
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._arrivals.close()
        await self._connection.close()

    def now_ms(self, clock_ms: int) -> int:
        return self._clock.now_ms(clock_ms)

    # --- for the publisher

    async def last(self, shard: Shard) -> EntryId:
        return (await self._position(shard)).last

    async def put(self, shard: Shard, entries: Sequence[QueueEntry], *, after: EntryId) -> None:
        await self._enqueuer.put(shard, entries, after=after)

    async def low_water(self, shard: Shard) -> EntryId:
        return (await self._position(shard)).low_water

    async def positions(self, shards: Sequence[Shard]) -> list[QueuePosition | Unavailable]:
        await self._registry.refresh()
        commands = [script(scripts.POSITION, self._names.base(shard), self._before_ms) for shard in shards]
        replies = await self._connection.try_execute(commands)
        found = [reply if isinstance(reply, Unavailable) else _position(*reply) for reply in replies]
        for shard, position in zip(shards, found, strict=True):
            if isinstance(position, QueuePosition) and position.last != NO_ENTRY:
                await self._registry.register(shard)
        return found

    async def _position(self, shard: Shard) -> QueuePosition:
        (position,) = await self.positions([shard])
        if isinstance(position, Unavailable):
            raise position
        return position

    # --- for the dispatcher

    async def claim(
        self,
        *,
        now_ms: int,
        lease_ms: int,
        jobs_max: int,
        per_webhook_max: int,
        webhook_limits: Mapping[str, int] = NO_LIMITS,
        divide: Divide | None = None,
    ) -> list[Job]:
        """Two round trips: a survey, then the leases. A concurrent claim of another dispatcher may leave fewer jobs
        than surveyed, and two concurrent claims may together exceed `per_webhook_max`.
        """
        self._clamped = self._clamped and now_ms >= (self._claimed_at_ms or 0)
        self._clamped = self._clamped or await self._clamp(now_ms, lease_ms)
        before_ms = min(now_ms, self._before_ms if self._claimed_at_ms is not None else now_ms)
        self._claimed_at_ms = now_ms
        self._leases += 1
        surveyed: dict[Shard, dict[str, WebhookLoad]] = {}
        allocations: dict[Shard, ShardAllocation] = {}
        for _ in range(SURVEYS_MAX):
            more = await self._survey(surveyed, now_ms, before_ms)
            allocations = allocate(
                surveyed,
                per_webhook_max=per_webhook_max,
                webhook_limits=webhook_limits,
                divide=divide or evenly(jobs_max),
                turn=self._leases,
            )
            if not more or sum(allocation.jobs for allocation in allocations.values()) >= jobs_max:
                break
        return await self._lease(allocations, now_ms, now_ms + lease_ms) if allocations else []

    async def _clamp(self, now_ms: int, lease_ms: int) -> bool:
        """Brings leases and due times back that lie too far ahead; returns whether every shard was available."""
        resume: dict[str, Sequence[bytes | int]] = dict.fromkeys(await self._bases(), (b"", 0))
        complete = True
        while resume:
            calls = [script(scripts.CLAMP, base, now_ms, lease_ms, *at) for base, at in resume.items()]
            replies = dict(zip(resume, await self._connection.try_execute(calls), strict=True))
            complete = complete and not any(isinstance(reply, Unavailable) for reply in replies.values())
            resume = {base: at for base, at in replies.items() if at and not isinstance(at, Unavailable)}
        return complete

    async def _survey(self, surveyed: dict[Shard, dict[str, WebhookLoad]], now_ms: int, before_ms: int) -> bool:
        """Fill in the loads of every shard; returns whether some have more entries to copy. Shards that are unavailable
        are skipped.
        """
        more, asked = False, set[Shard]()
        while True:
            shards = [shard for shard in self._registry.known if shard not in asked]
            surveys = [script(scripts.SURVEY, self._names.base(shard), now_ms, before_ms) for shard in shards]
            commands = [RedisCommand(("TIME",)), command("SMEMBERS", self._names.shards), *surveys]
            time, names, *replies = await self._connection.try_execute(commands)
            self._read_clock(time)
            if all(isinstance(reply, Unavailable) for reply in (names, *replies)):
                raise names
            if not isinstance(names, Unavailable):
                self._registry.add(names)
            for shard, reply in zip(shards, replies, strict=True):
                asked.add(shard)
                uncopied, *loads = [0] if isinstance(reply, Unavailable) else reply
                more = more or bool(uncopied)
                surveyed[shard] = {
                    name.decode(): WebhookLoad(leased, due)
                    for name, leased, due in zip(loads[::3], loads[1::3], loads[2::3], strict=True)
                }
            if asked.issuperset(self._registry.known):
                return more

    async def _lease(self, allocations: dict[Shard, ShardAllocation], now_ms: int, until_ms: int) -> list[Job]:
        lease = f"{self._opening}.{self._leases}"
        commands = []
        for shard, allocation in allocations.items():
            limits = [word for limit in allocation.per_webhook.items() for word in limit]
            arguments = (now_ms, until_ms, lease, allocation.jobs, *limits)
            commands.append(script(scripts.LEASE, self._names.base(shard), *arguments))
        leased: list[list[Job]] = []
        for shard, reply in zip(allocations, await self._connection.try_execute(commands), strict=True):
            if isinstance(reply, Unavailable):
                continue  # what it may have leased is due again when the lease expires
            rows = zip(*(reply[column::5] for column in range(5)), strict=True)
            leased.append(
                [
                    _job(
                        LeaseToken(lease, seq.decode(), shard), hook.decode(), attempt, int(first_at), content, until_ms
                    )
                    for seq, hook, attempt, first_at, content in rows
                ]
            )
        return list(heapq.merge(*leased, key=lambda job: job.entry.at_ms))

    async def next_due_ms(self) -> int | None:
        commands = [script(scripts.NEXT_DUE, base, self._before_ms) for base in await self._bases()]
        replies = await self._connection.try_execute(commands)
        if replies and all(isinstance(reply, Unavailable) for reply in replies):
            raise replies[0]
        due = [int(float(reply)) for reply in replies if reply and not isinstance(reply, Unavailable)]
        return min(due, default=None)

    async def wait_for_arrival(self, within_s: float) -> None:
        """Returns after any process has put or replayed something, or after `within_s`. A hint."""
        await self._arrivals.wait(within_s)

    # --- outcomes

    async def complete(self, job: Job) -> bool:
        return await self._outcomes.add(JobOutcome(job, "complete"))

    async def retry(self, job: Job, *, now_ms: int, due_ms: int, reason: str) -> bool:
        del reason  # not kept by this backend
        return await self._outcomes.add(JobOutcome(job, "retry", due_ms, max(0, due_ms - now_ms)))

    async def release(self, job: Job) -> bool:
        return await self._outcomes.add(JobOutcome(job, "release"))

    async def dead_letter(self, job: Job, *, now_ms: int) -> bool:
        return await self._outcomes.add(JobOutcome(job, "dead_letter", now_ms))

    async def _settle(self, outcomes: Sequence[JobOutcome]) -> Sequence[bool]:
        indices_of: dict[Shard, list[int]] = {}
        tokens = [parse_token(outcome.job.token) for outcome in outcomes]
        for index, token in enumerate(tokens):
            indices_of.setdefault(token.shard, []).append(index)
        chunks = [
            (shard, indices[begin : begin + OUTCOMES_PER_CALL_MAX])
            for shard, indices in indices_of.items()
            for begin in range(0, len(indices), OUTCOMES_PER_CALL_MAX)
        ]
        settles = [
            script(
                scripts.SETTLE,
                self._names.base(shard),
                self._before_ms,
                *(word for index in chunk for word in _settle_arguments(outcomes[index], tokens[index])),
            )
            for shard, chunk in chunks
        ]
        succeeded = dict.fromkeys(outcome.job.webhook_id for outcome in outcomes if outcome.verb == "complete")
        resets = [command("DEL", self._names.failure_streak(webhook_id)) for webhook_id in succeeded]
        answers = [False] * len(outcomes)
        replies = await self._connection.execute([*resets, *settles])
        for (_, chunk), held in zip(chunks, replies[len(resets) :], strict=True):
            for index, each in zip(chunk, held, strict=True):
                answers[index] = bool(each)
        settled = [outcome for outcome, answer in zip(outcomes, answers, strict=True) if answer]
        await self._count_failures([outcome for outcome in settled if outcome.verb in ("retry", "dead_letter")])
        return answers

    async def _count_failures(self, outcomes: Sequence[JobOutcome]) -> None:
        """In keys of their own, after the outcomes are written: losing one count does no harm."""
        commands = []
        for outcome in outcomes:
            since_ms = outcome.at_ms if outcome.verb == "dead_letter" else self._before_ms
            key = self._names.failure_streak(outcome.job.webhook_id)
            commands.append(script(scripts.COUNT_FAILURE, key, since_ms))
        if commands:
            await self._connection.execute(commands)

    async def failure_streak(self, webhook_id: str) -> FailureStreak | None:
        query = command("HMGET", self._names.failure_streak(webhook_id), "since", "attempts")
        since, attempts = await self._connection.execute_one(query)
        return FailureStreak(int(since), int(attempts)) if since and attempts else None

    async def drop_webhook(self, webhook_id: str) -> int:
        bases = uncopied = await self._bases()
        while uncopied:
            more = await self._connection.execute([script(scripts.COPY, base, self._before_ms) for base in uncopied])
            uncopied = [base for base, some in zip(uncopied, more, strict=True) if some]
        dropped = 0
        while bases:
            arguments = (webhook_id, self._before_ms, DROP_JOBS_MAX)
            replies = await self._connection.execute([script(scripts.DROP_WEBHOOK, base, *arguments) for base in bases])
            dropped += sum(count for count, _ in replies)
            bases = [base for base, (_, more) in zip(bases, replies, strict=True) if more]
        await self._connection.execute_one(command("DEL", self._names.failure_streak(webhook_id)))
        return dropped

    # --- replays and statistics

    async def replay(self, shard: Shard, entry: QueueEntry, *, now_ms: int) -> bool:
        self._claimed_at_ms = now_ms
        (webhook_id,) = entry.webhook_ids
        arguments = (f"{entry.event_id}:{webhook_id}", webhook_id, lane_key(entry), entry.at_ms, pack(entry), now_ms)
        _, replayed, _ = await self._connection.execute(
            [
                command("SADD", self._names.shards, shard_name(shard)),
                script(scripts.REPLAY, self._names.base(shard), *arguments),
                RedisCommand(("PUBLISH", self._names.arrivals, "")),
            ]
        )
        self._registry.known[shard] = None
        return bool(replayed)

    async def stats(self) -> QueueStats:
        commands = [script(scripts.STATS, base, self._before_ms) for base in await self._bases()]
        replies = await self._connection.execute(commands)
        jobs, leased = (sum(reply[column] for reply in replies) for column in range(2))
        return QueueStats(jobs - leased, leased, min((int(float(at)) for *_, at in replies if at), default=None))

    # --- for operators

    async def backlogs(self, webhook_ids: Sequence[str], *, now_ms: int) -> list[WebhookBacklog]:
        bases, before_ms = await self._bases(), self._before_ms
        return await read_backlogs(
            self._connection, self._names, bases, webhook_ids, now_ms=now_ms, before_ms=before_ms
        )

    async def keep_attempts(self, attempts: Sequence[DeliveryAttempt]) -> None:
        await self._attempts.keep(attempts, ATTEMPTS_MAX)

    async def attempts(self, webhook_ids: Sequence[str], *, attempts_max: int) -> list[list[DeliveryAttempt]]:
        return await self._attempts.of(webhook_ids, attempts_max)

    async def forget_attempts(self, webhook_id: str) -> None:
        await self._attempts.forget(webhook_id)

    # --- internals

    def _read_clock(self, time: tuple[bytes, bytes] | Unavailable) -> None:
        if not isinstance(time, Unavailable):
            self._clock.read(int(time[0]) * 1000 + int(time[1]) // 1000)

    async def _check_permissions(self) -> None:
        """Checks every permission at the start, so that none is found missing during work."""
        probes = list(permissions.probes(self._names, cluster=self._settings.cluster))
        await self._connection.on_each_master(("SCRIPT LOAD", scripts.DENIED_COMMANDS.text))
        replies = await self._connection.on_each_master(("EVALSHA", scripts.DENIED_COMMANDS.sha, 0, *probes))
        missing = sorted({name.decode() for (reply,) in replies for name in reply})
        if missing:
            raise AccessDenied(f"redis denies our user {', '.join(missing)}: `airy queue acl` prints what it needs")

    @property
    def _before_ms(self) -> int:
        """Time of the previous claim. A new job is due since then, which keeps its order among retries."""
        return self._claimed_at_ms or 0

    async def _bases(self) -> list[str]:
        return [self._names.base(shard) for shard in await self._registry.current()]


def _position(low_water: bytes, last: bytes) -> QueuePosition:
    last_id = entry_id(last)
    if low_water:
        return QueuePosition(last_id, entry_id(low_water))
    return QueuePosition(last_id, NO_ENTRY if last_id == NO_ENTRY else (last_id[0], last_id[1] + 1))


def _job(token: LeaseToken, webhook_id: str, attempt: int, first_at_ms: int, content: bytes, until_ms: int) -> Job:
    entry = unpack(content, webhook_id)
    job_id = f"{entry.event_id}:{webhook_id}"
    return Job(job_id, token.text(webhook_id), webhook_id, entry, attempt, first_at_ms, until_ms)


def _settle_arguments(outcome: JobOutcome, token: LeaseToken) -> tuple[str | int | bytes, ...]:
    return outcome.verb, outcome.job.webhook_id, token.seq, token.lease, outcome.at_ms, outcome.delay_ms
