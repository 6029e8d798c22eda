"""An answer lost at any request: no job is duplicated, missing, or blocked for longer than a lease."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack

import pytest

from airy.errors import Unavailable
from airy.queue.api import Job, PositionConflict, QueueEntry
from airy.queue.redis import RedisQueue
from airy.queue.redis import shard_registry as shards
from tests.kit.contracts.queue import HERE, LEASE_MS, entry
from tests.kit.cutting import CuttingProxy
from tests.kit.queue_redis import opened
from tests.kit.servers.fixtures import needed
from tests.kit.servers.redis import RedisServer

ENTRIES = 4

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer())
        yield server


class Path:
    """The calls of a publisher and a dispatcher, with the retries they make when the queue is unavailable."""

    def __init__(self, queue: RedisQueue) -> None:
        self.queue = queue
        self.now_ms = 0
        self.unavailable = 0
        self.claims: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()  # of endpoints

    async def publish(self) -> None:
        last = None
        while last is None or last < (ENTRIES - 1, 0):
            try:
                last = await self.queue.last(HERE)
                rest = [one for one in self._entries() if one.id > last]
                await self.queue.put(HERE, rest[:2], after=last)
            except PositionConflict as stale:
                last = stale.last
            except Unavailable:
                self.unavailable += 1
                last = None

    async def deliver(self) -> None:
        """Retries the first attempt, completes the second."""
        quiet = 0
        while quiet < 2:
            jobs = await self._claimed()
            quiet = 0 if jobs else quiet + 1
            for job in jobs:
                self.claims[job.id] += 1
                self.calls[job.id] += 1
                if self.calls[job.id] == 1:
                    await self._reported(
                        lambda job=job: self.queue.retry(job, now_ms=self.now_ms, due_ms=self.now_ms + 10, reason="no")
                    )
                else:
                    await self._reported(lambda job=job: self.queue.complete(job))
            self.now_ms += 10 if jobs else LEASE_MS

    async def _claimed(self) -> list[Job]:
        try:
            return await self.queue.claim(now_ms=self.now_ms, lease_ms=LEASE_MS, jobs_max=5, per_webhook_max=5)
        except Unavailable:
            self.unavailable += 1
            self.now_ms += LEASE_MS  # leases without a received answer have expired by then
            return await self._claimed()

    async def _reported(self, report: Callable[[], Awaitable[bool]]) -> None:
        while True:
            try:
                await report()
            except Unavailable:
                self.unavailable += 1
            else:
                return

    def _entries(self) -> list[QueueEntry]:
        return [entry(number, "a", "b", lane=f"lane {number % 4}") for number in range(ENTRIES)]


async def _cut_at(server: RedisServer, request: int, keep_bytes: int) -> tuple[bool, Path]:
    async with CuttingProxy(server.url).serving() as proxy, opened(server, url=proxy.url) as rig:
        path = Path(rig.queue)
        proxy.cut(request, keep_bytes=keep_bytes)
        await path.publish()
        await path.deliver()
        cut = proxy.disarm()
        assert await rig.queue.low_water(HERE) == (ENTRIES - 1, 1)
        stats = await rig.queue.stats()
        assert (stats.waiting, stats.leased) == (0, 0)
        assert len(path.calls) == 2 * ENTRIES, "nothing is missing"
        extra = sum(path.calls.values()) - 2 * len(path.calls)
        assert extra <= 8, "only jobs whose claim was lost are repeated"
        return cut, path


@pytest.mark.parametrize("keep_bytes", [0, 3])
async def test_a_lost_answer_duplicates_and_blocks_nothing(
    server: RedisServer, keep_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "REFRESH_S", 1e9)  # once, so that requests are in the same order every time
    failures = request = 0
    cut = True
    while cut:
        cut, path = await _cut_at(server, request, keep_bytes)
        failures += path.unavailable
        request += 1
    assert request > 30
    assert failures > 0.7 * request, "most losses had an effect; the others hit the handshake of a connection"
