"""The checkpointer runs periodically, and early when the WAL is large."""

from itertools import pairwise
from random import Random

import anyio

from airy.actors.checkpointer import CHECK_S, PERIOD_S, WAL_PAGES_MAX, Checkpointer
from airy.actors.runtime import Context
from airy.clock import LoopClock
from airy.errors import DiskFull


class Writing:
    """A store whose WAL grows by a number of pages per second."""

    def __init__(self, pages_per_s: int) -> None:
        self._pages_per_s = pages_per_s
        self._since = anyio.current_time()
        self.checkpoints: list[float] = []
        self.pages_max = 0

    @property
    def wal_pages(self) -> int:
        return round((anyio.current_time() - self._since) * self._pages_per_s)

    async def checkpoint(self) -> None:
        self.pages_max = max(self.pages_max, self.wal_pages)
        self.checkpoints.append(anyio.current_time())
        self._since = anyio.current_time()


async def run_for(store: Writing, for_s: float) -> None:
    with anyio.move_on_after(for_s):
        await Checkpointer(store).run(Context("checkpointer", clock=LoopClock(0), random=Random(0)))


async def test_a_store_at_rest_is_checkpointed_every_period() -> None:
    store = Writing(pages_per_s=1)
    await run_for(store, 5.2 * PERIOD_S)
    assert len(store.checkpoints) == 5


async def test_a_large_wal_is_checkpointed_early() -> None:
    pages_per_s = 40_000
    store = Writing(pages_per_s)
    await run_for(store, 10.0)
    assert WAL_PAGES_MAX <= store.pages_max <= WAL_PAGES_MAX + 2 * CHECK_S * pages_per_s


async def test_a_checkpoint_that_fails_is_tried_again_after_a_period() -> None:
    class Full(Writing):
        async def checkpoint(self) -> None:
            await super().checkpoint()
            raise DiskFull("no space")

    store = Full(pages_per_s=WAL_PAGES_MAX)
    await run_for(store, 5 * PERIOD_S)

    assert len(store.checkpoints) > 1
    assert all(later - earlier >= PERIOD_S for earlier, later in pairwise(store.checkpoints))


async def test_a_stop_checkpoints_at_once() -> None:
    store = Writing(pages_per_s=1)
    context = Context("checkpointer", clock=LoopClock(0), random=Random(0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Checkpointer(store).run, context)
        await anyio.sleep(1.0)
        context.draining.set()
    assert store.checkpoints == [1.0]
