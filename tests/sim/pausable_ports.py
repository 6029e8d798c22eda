"""Ports of one simulated process that can be paused (a zombie), killed, or made to fold slowly.

Every call of a paused process to the log, the queue or the network waits, before and after, as if its threads were
stopped. A killed process does not leave its groups: its sessions have to time out, as after kill -9.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from inspect import iscoroutinefunction
from random import Random
from typing import Any

import anyio

from airy.bus.api import Reader, RebalanceListener, Subscription
from airy.bus.memory import MemoryBus
from airy.bus.record import Position, ProducerRecord, Record, TopicPartition
from airy.bus.topic import Topic
from airy.lifecycle import Lifecycle


class FaultSwitch:
    """The faults injected into one run of a process."""

    def __init__(self, random: Random) -> None:
        self.killed = False
        self.fold_delay_s = 0.0  # maximum delay before each batch of the fold
        self._random = random
        self._paused: anyio.Event | None = None  # set on resume
        self._reading: set[anyio.CancelScope] = set()

    @property
    def paused(self) -> bool:
        return self._paused is not None

    def pause(self) -> None:
        if self._paused is None:
            self._paused = anyio.Event()
            for scope in self._reading:
                scope.cancel()  # a stopped process does not fetch: its session times out

    def resume(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.set()

    async def wait_while_paused(self) -> None:
        while self._paused is not None:
            await self._paused.wait()

    async def delay_fold(self) -> None:
        if self.fold_delay_s:
            await anyio.sleep(self._random.uniform(0.0, self.fold_delay_s))

    @contextmanager
    def reading(self) -> Iterator[anyio.CancelScope]:
        """A scope that ends when the process is paused."""
        with anyio.CancelScope() as scope:
            self._reading.add(scope)
            try:
                yield scope
            finally:
                self._reading.discard(scope)


class PausablePort:
    """A port whose asynchronous methods wait while the process is paused; its other attributes are passed through."""

    def __init__(self, port: Any, switch: FaultSwitch) -> None:
        self._port = port
        self._switch = switch

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        return pausable(value, self._switch) if iscoroutinefunction(value) else value


def pausable(function: Callable[..., Awaitable[Any]], switch: FaultSwitch) -> Callable[..., Awaitable[Any]]:
    async def call(*arguments: Any, **named: Any) -> Any:
        await switch.wait_while_paused()
        result = await function(*arguments, **named)
        await switch.wait_while_paused()
        return result

    return call


class _PausableReader:
    def __init__(self, reader: Reader, switch: FaultSwitch, *, folds: bool) -> None:
        self._reader = reader
        self._switch = switch
        self._folds = folds

    async def fetch(self, *, records_max: int, bytes_max: int = 4_194_304, wait_s: float) -> list[Record]:
        until = anyio.current_time() + wait_s
        while True:
            await self._switch.wait_while_paused()
            with self._switch.reading():
                records = await self._reader.fetch(
                    records_max=records_max, bytes_max=bytes_max, wait_s=max(0.0, until - anyio.current_time())
                )
                break
        if self._folds and records:
            await self._switch.delay_fold()
        await self._switch.wait_while_paused()
        return records

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._reader.seek(tp, offset)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._reader.pause(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._reader.resume(partitions)

    def position(self, tp: TopicPartition) -> int:
        return self._reader.position(tp)


class _PausableSubscription(_PausableReader):
    def __init__(self, subscription: Subscription, switch: FaultSwitch) -> None:
        super().__init__(subscription, switch, folds=False)
        self._subscription = subscription

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        return self._subscription.assignment

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        await self._switch.wait_while_paused()
        await self._subscription.commit(offsets)
        await self._switch.wait_while_paused()


class PausableBus:
    """The log as one process reaches it. `abandoned_memberships` collects the memberships of killed processes."""

    def __init__(
        self,
        bus: MemoryBus,
        switch: FaultSwitch,
        abandoned_memberships: list[AbstractAsyncContextManager[Subscription]],
    ) -> None:
        self._bus = bus
        self._switch = switch
        self._abandoned = abandoned_memberships

    async def run(self, lifecycle: Lifecycle) -> None:
        lifecycle.ready()
        with lifecycle.waiting():
            await lifecycle.draining.wait()

    async def publish(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        await self._switch.wait_while_paused()
        positions = await self._bus.publish(records)
        await self._switch.wait_while_paused()
        return positions

    @asynccontextmanager
    async def subscribe(
        self,
        topics: Sequence[Topic[Any]],
        *,
        group: str,
        listener: RebalanceListener | None = None,
    ) -> AsyncIterator[Subscription]:
        membership = self._bus.subscribe(topics, group=group, listener=listener)
        subscription = await membership.__aenter__()
        try:
            yield _PausableSubscription(subscription, self._switch)
        finally:
            if self._switch.killed:
                self._abandoned.append(membership)
            else:
                await membership.__aexit__(None, None, None)

    @asynccontextmanager
    async def tail(self, start: Mapping[TopicPartition, int]) -> AsyncIterator[Reader]:
        async with self._bus.tail(start) as tail:
            yield _PausableReader(tail, self._switch, folds=True)

    async def beginning_offsets(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        await self._switch.wait_while_paused()
        return await self._bus.beginning_offsets(topics)

    async def end_offsets(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        await self._switch.wait_while_paused()
        ends = await self._bus.end_offsets(topics)
        await self._switch.wait_while_paused()
        return ends

    async def offsets_at(self, topics: Sequence[Topic[Any]], at_ms: int) -> dict[TopicPartition, int]:
        await self._switch.wait_while_paused()
        return await self._bus.offsets_at(topics, at_ms)

    async def counts_from(self, starts: Mapping[TopicPartition, int]) -> dict[str, int]:
        await self._switch.wait_while_paused()
        return await self._bus.counts_from(starts)

    async def partition_counts_from(self, starts: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        await self._switch.wait_while_paused()
        return await self._bus.partition_counts_from(starts)

    async def committed(self, group: str, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        await self._switch.wait_while_paused()
        return await self._bus.committed(group, topics)
