"""The memory bus keeps the contract: without a journal, with one on the event loop, and with one in threads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from airy.bus import Bus, MemoryBus, Topic, open_journal
from tests.kit.bus import StepClock, running
from tests.kit.contracts.bus import BusContract, Topics


class Memory(BusContract):
    """What the backends share."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "journal"
        self.clock = StepClock()

    def make(self, topics: Topics, impatient: bool, **options: Any) -> MemoryBus:
        limits = {"session_s": self.session_s, "rebalance_s": self.rebalance_s} if impatient else {}
        return MemoryBus(
            topics,
            clock=self.clock,
            record_bytes_max=self.record_bytes_max,
            compact_records_min=1,
            **limits,
            **options,
        )

    async def compact(self, bus: Bus, topic: Topic[Any]) -> None:
        assert isinstance(bus, MemoryBus)
        await bus.upkeep()

    async def truncate(self, bus: Bus, topic: Topic[Any]) -> None:
        self.clock.ms += topic.retention_ms + 1
        await self.compact(bus, topic)


class TestMemoryBus(Memory):
    @asynccontextmanager
    async def serving(self, topics: Topics, *, impatient: bool = False) -> AsyncIterator[Bus]:
        async with running(self.make(topics, impatient)) as bus:
            yield bus


class TestJournalOnTheEventLoop(Memory):
    """Little memory, so that most of what is read was evicted."""

    @asynccontextmanager
    async def serving(self, topics: Topics, *, impatient: bool = False) -> AsyncIterator[Bus]:
        with open_journal(self.directory, inline=True) as journal:
            async with running(self.make(topics, impatient, journal=journal, memory_bytes_max=2_000)) as bus:
                yield bus


@pytest.mark.usefixtures("real_time")
class TestJournalInThreads(Memory):
    quiet_s = 0.02
    session_s = 0.4
    rebalance_s = 0.6
    busy = True

    @asynccontextmanager
    async def serving(self, topics: Topics, *, impatient: bool = False) -> AsyncIterator[Bus]:
        with open_journal(self.directory) as journal:
            async with running(self.make(topics, impatient, journal=journal, memory_bytes_max=2_000)) as bus:
                yield bus
