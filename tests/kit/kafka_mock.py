"""A Kafka bus on a mock cluster with scripted failures, and a check for leaked tasks."""

import asyncio  # noqa: TID251 - the client and its leaked tasks are asyncio's
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Self, TypeVar

import anyio
from aiokafka.errors import KafkaError
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from airy.bus import Topic
from airy.bus.api import Bus, Fenced, Subscription
from airy.bus.kafka import KafkaBus, KafkaSettings
from airy.bus.record import ProducerRecord, Record, TopicPartition
from airy.errors import Unavailable
from airy.task_group import task_group
from tests.kit.lifecycle import RecordingLifecycle
from tests.kit.servers.mock_kafka import Api, MockKafka
from tests.kit.servers.ports import HOST
from tests.kit.servers.proxy import Proxy

PATIENCE_S = 120.0  # for events that must happen: the machine may be busy
SOON_S = 1.2  # a short session, see `settings`; on a busy machine it expires early

T = TypeVar("T")

IN: Topic[Any] = Topic("in", bytes, partitions=1, retention="kept")
OUT: Topic[Any] = Topic("out", bytes, partitions=1, retention="kept")
DEAD: Topic[Any] = Topic("dead", bytes, partitions=1, retention="kept")
WIDE: Topic[Any] = Topic("wide", bytes, partitions=2, retention="kept")
TOPICS = (IN, OUT, DEAD, WIDE)


def settings(bootstrap: Sequence[str], **others: Any) -> KafkaSettings:
    """Deadlines a test can wait for; those it does not mean to meet are generous.

    After a member has left, a mock coordinator delays joins by a session less one second. Tests that join again use
    `SOON_S`, and must accept that the session expires on a busy machine.
    """
    limits: dict[str, Any] = {
        "session_s": 30.0,
        "rebalance_s": 30.0,
        "request_s": 30.0,
        "publish_s": 60.0,
        "call_s": 60.0,
        "stop_s": 1.0,
        "stall_s": 60.0,
    }
    return KafkaSettings(bootstrap=tuple(bootstrap), **(limits | others))


class MockCluster(MockKafka):
    """A mock cluster shared by many tests: starting one takes a second, new topics and groups take no time."""

    namespace = ""

    def anew(self) -> Self:
        for api in Api:
            self.heal(api)
        self.up()
        for broker, address in zip(self.brokers, self.bootstrap, strict=True):
            self.round_trip(0, broker)
            host, _, port = address.partition(":")
            self.advertise(host, int(port), broker)
        self.namespace = f"n{next(_NUMBERS)}"
        for topic in TOPICS:
            self.topic(self.wire(topic), topic.partitions)
        return self

    def wire(self, topic: Topic[Any]) -> str:
        return f"{self.namespace}.{topic.name}"

    @asynccontextmanager
    async def proxied(self, broker: int = 1) -> AsyncIterator[Proxy]:
        """A proxy that carries all traffic to and from the broker."""
        host, _, port = self.bootstrap[broker - 1].partition(":")
        async with Proxy(host, int(port)) as proxy:
            self.advertise(HOST, proxy.port, broker)
            yield proxy

    def settings(self, **limits: Any) -> KafkaSettings:
        return settings(self.bootstrap, namespace=self.namespace, **limits)


_NUMBERS = count()


@asynccontextmanager
async def serving(cluster: MockCluster, **limits: Any) -> AsyncIterator[KafkaBus]:
    bus, lifecycle = KafkaBus(TOPICS, cluster.settings(**limits)), RecordingLifecycle()
    async with nothing_left(), task_group() as tasks:
        tasks.start_soon(_run, bus, lifecycle)
        await lifecycle.is_ready.wait()
        yield bus
        lifecycle.draining.set()


async def _run(bus: KafkaBus, lifecycle: RecordingLifecycle) -> None:
    """Retried until it has started: on a busy machine that may take longer than its time limit."""
    while True:
        try:
            return await bus.run(lifecycle)
        except Unavailable:
            if lifecycle.is_ready.is_set():
                raise


def hurry(part: Any, **limits: float) -> None:
    """Shorten the time limits of a part of the bus from now on, so that the set-up of a test is not bound by them."""
    part._settings = replace(part._settings, **limits)


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """The block leaks no task, and the event loop reports no error."""
    before = _tasks()
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
    try:
        yield
        with anyio.move_on_after(PATIENCE_S):
            while _tasks() - before:
                await anyio.sleep(0.02)
        left = _tasks() - before
        assert not left, f"{len(left)} tasks are left: {left}"
        gc.collect()
        await checkpoint()
        ours = [complaint for complaint in complaints if type(complaint.get("exception")) is not KafkaError]
        assert not ours, ours  # without a message it is internal to the client
    finally:
        loop.set_exception_handler(handler)


def _tasks() -> set["asyncio.Task[Any]"]:
    """Except those of a proxy, which is closed later."""
    return {task for task in asyncio.all_tasks() if "Proxy." not in getattr(task.get_coro(), "__qualname__", "")}


def numbers(topic: Topic[Any], begin: int, end: int) -> list[ProducerRecord]:
    return [topic.record("key", b"%d" % number) for number in range(begin, end)]


def of(records: Sequence[Record]) -> list[int]:
    return [int(record.value or b"") for record in records]


def first(values: Sequence[int]) -> list[int]:
    """As the fold applies them: repeated records are ignored."""
    return list(dict.fromkeys(values))


async def log(bus: Bus, topic: Topic[Any]) -> list[Record]:
    """All records of the topic."""
    starts, ends = await bus.beginning_offsets([topic]), await bus.end_offsets([topic])
    records: list[Record] = []
    async with bus.tail(starts) as tail:
        with anyio.fail_after(PATIENCE_S):
            while any(tail.position(tp) < end for tp, end in ends.items()):
                records += await tail.fetch(records_max=10_000, wait_s=0.5)
    return records


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Retry until it is available: a busy machine may exceed the time limits of the bus."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            try:
                return await ask()
            except Unavailable:
                await anyio.sleep(0.02)


async def commits(subscription: Subscription, offsets: Mapping[TopicPartition, int]) -> None:
    """Retry until the commit succeeds: on a busy machine the session may expire, and the member joins again."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            try:
                return await subscription.commit(offsets)
            except (Fenced, Unavailable):
                await answered(lambda: subscription.fetch(records_max=0, wait_s=0.1))


async def published(bus: Bus, records: Sequence[ProducerRecord]) -> int:
    """Retry until it is published; returns the number of attempts."""
    with anyio.fail_after(PATIENCE_S):
        for tried in range(1, 10_000):
            try:
                await bus.publish(records)
            except Unavailable:
                await anyio.sleep(0.02)
            else:
                return tried
    raise AssertionError("unreachable")
