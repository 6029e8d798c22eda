"""What the fold commits is brought into the database by the clock, and sooner when much waits."""

from random import Random

import anyio

from airy.actors.runtime import Context
from airy.app.checkpointer import LOOK_S, PAGES, PERIOD_S, Checkpointer
from airy.clock import LoopClock


class Writing:
    """A store that writes so many pages a second."""

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
        await Checkpointer(store).run(Context("checkpoints", clock=LoopClock(0), random=Random(0)))


async def test_a_store_at_rest_is_checkpointed_every_period() -> None:
    store = Writing(pages_per_s=1)
    await run_for(store, 5.2 * PERIOD_S)
    assert len(store.checkpoints) == 5


async def test_a_store_that_is_built_anew_does_not_wait_for_the_clock() -> None:
    pages_per_s = 40_000
    store = Writing(pages_per_s)
    await run_for(store, 10.0)
    assert PAGES <= store.pages_max <= PAGES + 2 * LOOK_S * pages_per_s


async def test_a_stop_does_not_wait_for_the_clock_and_leaves_a_short_log_file() -> None:
    store = Writing(pages_per_s=1)
    context = Context("checkpoints", clock=LoopClock(0), random=Random(0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Checkpointer(store).run, context)
        await anyio.sleep(1.0)
        context.draining.set()
    assert store.checkpoints == [1.0]
