"""Every prefix of a script's effects is safe: Redis may lose the rest, continue without it, and bring it back later.

A random history is recorded as Redis writes it to its append-only file. The effects of one script are cut short, and
the history continues without them, which is the state after a restart that followed the cut. Then everything is
replayed into an empty server with the torn effects in their original place, which is the state after the next restart
(valkey-io/valkey#4342).
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from random import Random

import pytest

from airy.queue.api import NO_ENTRY, Job, QueueEntry, Shard
from airy.queue.redis import RedisQueue
from tests.kit.queue_redis import Command, Written, flush, opened, replay_commands
from tests.kit.servers.fixtures import needed
from tests.kit.servers.redis import RedisServer

HISTORIES = int(os.environ.get("HISTORIES", "40"))
LEASE_MS = 1_000
HERE = Shard("t", 0)
HOOKS = ("a", "b")
DeliveryState = tuple[str, str]  # event, webhook

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.timeout(300 + HISTORIES),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer(fsync="always"))  # otherwise the file is written late
        yield server


class Driver:
    """Runs every operation of a queue."""

    def __init__(self, queue: RedisQueue, random: Random, *, everything: bool) -> None:
        self.queue = queue
        self.everything = everything  # without `oldest`, leases and `repair_heads` alone must repair everything
        self.random = random
        self.handed: list[Job] = []
        self.now_ms = 0
        self.offset = 0
        self.dead: list[QueueEntry] = []
        self.replayed: set[str] = set()

    async def act(self, actions: int) -> None:
        verbs = [self._put, self._put, self._claim, self._claim, self._settle, self._settle, self._settle]
        verbs += [self._settle, self._sleep, self._due]
        verbs += [self._drop, self._replay, self._low] if self.everything else []
        for _ in range(actions):
            await self.random.choice(verbs)()

    async def _put(self) -> None:
        entries = []
        for _ in range(self.random.randint(1, 4)):
            self.offset += 1
            names = tuple(name for name in HOOKS if self.random.random() < 0.7)
            lane = f"lane {self.random.randrange(2)}"
            entries.append(QueueEntry((self.offset, 0), names, lane, f"{self.offset:03}", "k", b"{}", 0, ""))
        await self.queue.put(HERE, entries, after=await self.queue.last(HERE))

    async def _claim(self) -> None:
        self.handed += await self.queue.claim(
            now_ms=self.now_ms, lease_ms=LEASE_MS, jobs_max=self.random.randint(1, 4), per_webhook_max=3
        )

    async def _settle(self) -> None:
        if not self.handed:
            return
        job = self.random.choice(self.handed[-6:])
        how = self.random.randrange(5)
        if how == 0:
            await self.queue.retry(job, now_ms=self.now_ms, due_ms=self.now_ms + 500, reason="no")
        elif how == 1:
            if await self.queue.dead_letter(job, now_ms=self.now_ms):
                self.dead.append(job.entry)
        elif how == 2:
            await self.queue.release(job)
        else:
            await self.queue.complete(job)

    async def _drop(self) -> None:
        if self.random.random() < 0.3:
            await self.queue.drop_webhook(self.random.choice(HOOKS))

    async def _replay(self) -> None:
        """Sometimes twice, as a caller that does not know the result of the first."""
        for entry in self.dead[-1:]:
            if await self.queue.replay(HERE, entry, now_ms=self.now_ms):
                self.replayed.add(entry.event_id)

    async def _low(self) -> None:
        await self.queue.low_water(HERE)

    async def _due(self) -> None:
        await self.queue.next_due_ms()

    async def _sleep(self) -> None:
        self.now_ms += self.random.randrange(LEASE_MS)

    async def drain(self) -> list[Job]:
        """Delivers everything, for as many leases as it takes; then no key of a job may remain."""
        delivered: list[Job] = []
        quiet = 0
        await self.queue._registry.repair_heads()  # as after every restart
        for _ in range(200):
            self.now_ms += LEASE_MS
            if self.everything:
                await self.queue.low_water(HERE)
            jobs = await self.queue.claim(now_ms=self.now_ms, lease_ms=LEASE_MS, jobs_max=100, per_webhook_max=100)
            for job in jobs:
                assert await self.queue.complete(job)
            delivered += jobs
            quiet = 0 if jobs else quiet + 1
            if quiet == 3:
                break
        stats = await self.queue.stats()
        assert (stats.waiting, stats.leased, stats.oldest_at_ms) == (0, 0, None), stats
        assert await self.queue.next_due_ms() is None
        last = await self.queue.last(HERE)
        assert await self.queue.low_water(HERE) == (NO_ENTRY if last == NO_ENTRY else (last[0], last[1] + 1))
        return delivered


def _deliveries(jobs: Iterable[Job]) -> list[DeliveryState]:
    return [(job.entry.event_id, job.webhook_id) for job in jobs]


def _finished(torn: Iterable[Command], replayed: Iterable[str]) -> set[DeliveryState]:
    """Deliveries that were complete, dead or dropped when the script was cut, which need not be repeated. The position
    of a replay does not contain its delivery.
    """
    found = set()
    for name, key, *members in torn:
        if name.upper() == b"ZREM" and b":wait:" in key:
            positions = [member.partition(b"\0")[2] for member in members]
            events = {f"{int(position[:16]):03}" for position in positions}
            events |= set(replayed) if any(b"~" in position for position in positions) else set()
            found |= {(event, key.decode().rpartition(":wait:")[2]) for event in events}
    return found


def _in_order(jobs: Iterable[Job], replayed: set[str]) -> None:
    seen: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for job in jobs:
        if job.entry.event_id not in replayed:
            seen.setdefault((job.webhook_id, job.entry.lane), []).append(job.entry.id)
    for ids in seen.values():
        assert ids == sorted(ids)


async def _torn(server: RedisServer, seed: int) -> str:
    random = Random(seed)
    async with opened(server) as rig:
        written = Written(server)
        driver = Driver(rig.queue, random, everything=random.random() < 0.5)
        await driver._put()
        await driver.act(random.randint(10, 40))
        groups = written.groups()
        long = [place for place, group in enumerate(groups) if len(group) > 1] or [0]
        place = random.choice(long)
        torn = groups[place][: random.randint(0, len(groups[place]))]
        before = [command for group in groups[:place] for command in group]

        flush(server)
        replay_commands(server, before)
        written = Written(server)
        await driver.act(random.randint(0, 15))
        after = [command for group in written.groups() for command in group]
        expected = set(_deliveries(await driver.drain()))

        flush(server)
        replay_commands(server, [*before, *torn, *after])
        delivered = await driver.drain()
        found = _deliveries(delivered)
        once = [one for one in found if one[0] not in driver.replayed]  # a torn replay may be requested again
        assert len(once) == len(set(once)), "no delivery is duplicated"
        assert expected - set(found) <= _finished(torn, driver.replayed), "nothing is missing"
        _in_order(delivered, driver.replayed)
        return " ".join(command[0].decode() for command in torn)


async def test_a_torn_script_that_comes_back_loses_duplicates_and_blocks_no_entry(
    server: RedisServer, seed: int
) -> None:
    kinds = set()
    for number in range(seed, seed + HISTORIES):
        try:
            kinds.add(await _torn(server, number))
        except AssertionError as error:
            raise AssertionError(f"AIRY_SEED={number} HISTORIES=1") from error
    assert HISTORIES < 40 or len(kinds) > 10, "scripts of many kinds were torn"
