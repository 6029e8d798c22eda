"""`deliver` on the in-memory log, in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airy.bus.api import Bus
from airy.bus.memory import MemoryBus
from airy.clock import LoopClock
from tests.kit.contracts.deliver import TOPICS, DeliverContract


class TestMemory(DeliverContract):
    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Bus]:
        yield MemoryBus(TOPICS, clock=LoopClock())
