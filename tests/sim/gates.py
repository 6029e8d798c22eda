"""The ports of one process of a fleet, with switches: it can be paused (a zombie), killed, or fold slowly.

A paused process does nothing others could see: whatever it asks of the log, the queue or the network waits, before and
after, as if its threads had been stopped there. A killed one leaves no group: its session has to run out, as after
kill -9.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from random import Random
from typing import Any

import anyio

from airy.bus.api import Ownership, Pulse, Reader, Subscription
from airy.bus.memory import MemoryBus
from airy.bus.record import Emit, Position, Record, TopicPartition
from airy.bus.topic import Topic
from airy.clock import Clock


class SkewedClock:
    """A machine's clock that is wrong by so much, until somebody sets it."""

    def __init__(self, clock: Clock, skew_ms: int) -> None:
        self._clock = clock
        self._skew_ms = skew_ms

    def set(self, skew_ms: int) -> None:
        """It jumps, forward or back."""
        self._skew_ms = skew_ms

    def now_ms(self) -> int:
        return self._clock.now_ms() + self._skew_ms


class Switch:
    """What is done to one life of a process from outside."""

    def __init__(self, random: Random) -> None:
        self.killed = False
        self.fold_delay_s = 0.0  # at most so much before each batch of the fold
        self._random = random
        self._paused: anyio.Event | None = None  # set when it goes on
        self._reading: set[anyio.CancelScope] = set()

    @property
    def paused(self) -> bool:
        return self._paused is not None

    def pause(self) -> None:
        if self._paused is None:
            self._paused = anyio.Event()
            for scope in self._reading:
                scope.cancel()  # nobody fetches for a stopped process: its session runs

    def resume(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.set()

    async def gate(self) -> None:
        while self._paused is not None:
            await self._paused.wait()

    async def dawdle(self) -> None:
        if self.fold_delay_s:
            await anyio.sleep(self._random.uniform(0.0, self.fold_delay_s))

    @contextmanager
    def reading(self) -> Iterator[anyio.CancelScope]:
        """Ends early when the process is paused."""
        with anyio.CancelScope() as scope:
            self._reading.add(scope)
            try:
                yield scope
            finally:
                self._reading.discard(scope)


class Gated:
    """Any port with asynchronous methods, behind the switch."""

    def __init__(self, port: Any, switch: Switch) -> None:
        self._port = port
        self._switch = switch

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return gated(getattr(self._port, name), self._switch)


def gated(function: Callable[..., Awaitable[Any]], switch: Switch) -> Callable[..., Awaitable[Any]]:
    async def call(*arguments: Any, **named: Any) -> Any:
        await switch.gate()
        result = await function(*arguments, **named)
        await switch.gate()
        return result

    return call


class _GatedReader:
    def __init__(self, reader: Reader, switch: Switch, *, folds: bool) -> None:
        self._reader = reader
        self._switch = switch
        self._folds = folds

    async def fetch(self, *, records_max: int, bytes_max: int = 4_194_304, wait_s: float) -> list[Record]:
        until = anyio.current_time() + wait_s
        while True:
            await self._switch.gate()
            with self._switch.reading():
                records = await self._reader.fetch(
                    records_max=records_max, bytes_max=bytes_max, wait_s=max(0.0, until - anyio.current_time())
                )
                break
        if self._folds and records:
            await self._switch.dawdle()
        await self._switch.gate()
        return records

    def seek(self, where: TopicPartition, offset: int) -> None:
        self._reader.seek(where, offset)

    def pause(self, where: Iterable[TopicPartition]) -> None:
        self._reader.pause(where)

    def resume(self, where: Iterable[TopicPartition]) -> None:
        self._reader.resume(where)

    def position(self, where: TopicPartition) -> int:
        return self._reader.position(where)


class _GatedSubscription(_GatedReader):
    def __init__(self, subscription: Subscription, switch: Switch) -> None:
        super().__init__(subscription, switch, folds=False)
        self._subscription = subscription

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        return self._subscription.assignment

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        await self._switch.gate()
        await self._subscription.commit(offsets)
        await self._switch.gate()


class GatedBus:
    """A process's connection to the cluster's log. `graves` keeps the memberships that killed ones leave behind."""

    def __init__(
        self,
        bus: MemoryBus,
        switch: Switch,
        graves: list[AbstractAsyncContextManager[Subscription]],
    ) -> None:
        self._bus = bus
        self._switch = switch
        self._graves = graves

    async def run(self, pulse: Pulse) -> None:
        pulse.ready()
        with pulse.waiting():
            await pulse.draining.wait()

    async def publish(self, emits: Sequence[Emit]) -> Sequence[Position]:
        await self._switch.gate()
        positions = await self._bus.publish(emits)
        await self._switch.gate()
        return positions

    @asynccontextmanager
    async def subscribe(
        self,
        topics: Sequence[Topic[Any]],
        *,
        group: str,
        ownership: Ownership | None = None,
    ) -> AsyncIterator[Subscription]:
        membership = self._bus.subscribe(topics, group=group, ownership=ownership)
        subscription = await membership.__aenter__()
        try:
            yield _GatedSubscription(subscription, self._switch)
        finally:
            if self._switch.killed:
                self._graves.append(membership)
            else:
                await membership.__aexit__(None, None, None)

    @asynccontextmanager
    async def tail(self, start: Mapping[TopicPartition, int]) -> AsyncIterator[Reader]:
        async with self._bus.tail(start) as tail:
            yield _GatedReader(tail, self._switch, folds=True)

    async def starts(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        await self._switch.gate()
        return await self._bus.starts(topics)

    async def ends(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        await self._switch.gate()
        ends = await self._bus.ends(topics)
        await self._switch.gate()
        return ends

    async def committed(self, group: str, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        await self._switch.gate()
        return await self._bus.committed(group, topics)
