"""Traffic, kill -9, and removal of up to 4 KB from the end of the append-only file, as after a power cut, in a loop.

`CYCLES=200` for the long form. Claims may repeat after a cut; entries are neither missing nor duplicated.
"""

import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from random import Random

import anyio
import pytest

from airy.errors import Unavailable
from airy.queue.api import Job, PositionConflict, QueueEntry, Shard
from airy.queue.redis import RedisQueue
from tests.kit.queue_redis import PATIENCE_S, patient_queue
from tests.kit.servers.fixtures import needed
from tests.kit.servers.redis import RedisServer

CYCLES = int(os.environ.get("CYCLES", "8"))
TRAFFIC_S = 0.4  # at least
DELIVERIES_MIN = 25  # new ones, in each cycle
CUT_BYTES = 4_096
LIFE_MS = 10**9  # longer than any lease
WHERE = (Shard("t", 0), Shard("t", 1))
HOOKS = ("a", "b")

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.timeout(300 + 5 * CYCLES),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]

DeliveryState = tuple[Shard, tuple[int, int], str]


class Log:
    """The changes to deliver, and the deliveries."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.entries: dict[Shard, list[QueueEntry]] = {shard: [] for shard in WHERE}
        self.delivered: set[DeliveryState] = set()
        self.claimed: set[DeliveryState] = set()  # since the server started
        self.order: dict[tuple[Shard, str, str], tuple[int, int]] = {}  # since the server started
        self.now_ms = 0
        self.stale = 0

    def next_life(self) -> None:
        self.now_ms += 2 * LIFE_MS
        self.claimed.clear()
        self.order.clear()

    def grow(self, shard: Shard) -> None:
        log = self.entries[shard]
        for _ in range(self.random.randint(1, 20)):
            number = len(log)
            names = HOOKS[: self.random.randrange(3)]
            lane = f"{shard.partition}.{self.random.randrange(5)}"
            log.append(QueueEntry((number, 0), names, lane, f"{number}", "k", b"." * self.random.randrange(900), 0, ""))

    async def publish(self, queue: RedisQueue, shard: Shard) -> None:
        """Puts what the queue does not have yet, by its position alone."""
        last = await queue.last(shard)
        rest = self.entries[shard][last[0] + 1 :]
        try:
            await queue.put(shard, rest[:50], after=last)
        except PositionConflict:
            self.stale += 1

    async def deliver(self, queue: RedisQueue) -> int:
        jobs = await queue.claim(now_ms=self.now_ms, lease_ms=LIFE_MS, jobs_max=30, per_webhook_max=30)
        for job in jobs:
            self._claimed(job)
        async with anyio.create_task_group() as tasks:
            for job in jobs:
                tasks.start_soon(self._done, queue, job)
        return len(jobs)

    def _claimed(self, job: Job) -> None:
        shard = Shard("t", int(job.entry.lane.partition(".")[0]))
        delivery = shard, job.entry.id, job.webhook_id
        assert delivery not in self.claimed, f"{delivery} was put twice"
        self.claimed.add(delivery)
        lane = shard, job.webhook_id, job.entry.lane
        assert self.order.get(lane, (-1, 0)) < job.entry.id
        self.order[lane] = job.entry.id
        self.delivered.add(delivery)

    async def _done(self, queue: RedisQueue, job: Job) -> None:
        try:
            await queue.complete(job)
        except Unavailable:
            return  # it is delivered again after the restart

    def expected(self) -> set[DeliveryState]:
        return {(shard, one.id, name) for shard in WHERE for one in self.entries[shard] for name in one.webhook_ids}


async def _traffic(log: Log, queue: RedisQueue, over: anyio.Event) -> None:
    async def publish() -> None:
        while True:
            shard = log.random.choice(WHERE)
            log.grow(shard)
            await log.publish(queue, shard)

    async def deliver() -> None:
        while True:
            await log.deliver(queue)
            await queue.low_water(log.random.choice(WHERE))

    async def until_it_is_over(run: Callable[[], Awaitable[None]]) -> None:
        while not over.is_set():
            with suppress(Unavailable):
                await run()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(until_it_is_over, publish)
        tasks.start_soon(until_it_is_over, deliver)


async def _enough(log: Log) -> None:
    """Bounds the time of a cycle: the machine may pause for as long as the traffic was to last."""
    before = len(log.delivered)
    await anyio.sleep(TRAFFIC_S)
    with anyio.fail_after(PATIENCE_S):
        while len(log.delivered) < before + DELIVERIES_MIN:
            await anyio.sleep(0.01)


def _cut(server: RedisServer, random: Random) -> None:
    newest = server.aof_files()[-1]
    size = newest.stat().st_size
    os.truncate(newest, max(0, size - random.randrange(CUT_BYTES)))


async def test_a_power_cut_loses_and_duplicates_no_entry(seed: int) -> None:
    log = Log(Random(seed))
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer())
        queue = patient_queue(server.url)
        await queue.open()
        for _ in range(CYCLES):
            over = anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_traffic, log, queue, over)
                await _enough(log)
                over.set()
                await anyio.to_thread.run_sync(server.kill)
            _cut(server, log.random)
            await anyio.to_thread.run_sync(server.start)
            log.next_life()
        for shard in WHERE:
            while (await queue.last(shard))[0] < len(log.entries[shard]) - 1:
                await log.publish(queue, shard)
        while await log.deliver(queue):
            pass
        for shard in WHERE:
            assert await queue.low_water(shard) == (len(log.entries[shard]) - 1, 1)
        assert log.expected() == log.delivered, "nothing is missing"
        stats = await queue.stats()
        assert (stats.waiting, stats.leased) == (0, 0)
        assert len(log.delivered) >= DELIVERIES_MIN * CYCLES
        print(f"{len(log.delivered)} deliveries in {CYCLES} cycles")  # noqa: T201
        await queue.close()
