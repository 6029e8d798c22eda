"""The in-process bus keeps the contract: without a journal, with one on the event loop, and with one in threads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from airy.bus import Bus, Topic
from airy.bus.memory import GroupTimeouts, Journal, MemoryBus, MemoryLimits, RetentionSettings, open_journal
from tests.kit.bus import StepClock, running
from tests.kit.contracts.bus import BusContract, Topics


class Memory(BusContract):
    """Common to the three configurations."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "journal"
        self.clock = StepClock()

    def make(
        self,
        topics: Topics,
        short_timeouts: bool,
        *,
        journal: Journal | None = None,
        memory_bytes_max: int | None = None,
    ) -> MemoryBus:
        short = GroupTimeouts(session_s=self.session_s, rebalance_s=self.rebalance_s)
        return MemoryBus(
            topics,
            clock=self.clock,
            journal=journal,
            limits=MemoryLimits(record_bytes_max=self.record_bytes_max, memory_bytes_max=memory_bytes_max),
            timeouts=short if short_timeouts else GroupTimeouts(),
            retention=RetentionSettings(compact_records_min=1),
        )

    async def compact(self, bus: Bus, topic: Topic[Any]) -> None:
        assert isinstance(bus, MemoryBus)
        await bus.run_retention()

    async def truncate(self, bus: Bus, topic: Topic[Any]) -> None:
        self.clock.ms += topic.retention_ms + 1
        await self.compact(bus, topic)


class TestMemoryBus(Memory):
    @asynccontextmanager
    async def serving(self, topics: Topics, *, short_timeouts: bool = False) -> AsyncIterator[Bus]:
        async with running(self.make(topics, short_timeouts)) as bus:
            yield bus


class TestJournalOnTheEventLoop(Memory):
    """Little memory, so that most reads are from the journal."""

    @asynccontextmanager
    async def serving(self, topics: Topics, *, short_timeouts: bool = False) -> AsyncIterator[Bus]:
        with open_journal(self.directory, inline=True) as journal:
            async with running(self.make(topics, short_timeouts, journal=journal, memory_bytes_max=2_000)) as bus:
                yield bus


@pytest.mark.usefixtures("real_time")
class TestJournalInThreads(Memory):
    quiet_s = 0.02
    session_s = 0.4
    rebalance_s = 0.6
    busy = True

    @asynccontextmanager
    async def serving(self, topics: Topics, *, short_timeouts: bool = False) -> AsyncIterator[Bus]:
        with open_journal(self.directory) as journal:
            async with running(self.make(topics, short_timeouts, journal=journal, memory_bytes_max=2_000)) as bus:
                yield bus
