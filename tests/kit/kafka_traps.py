"""A Kafka bus in front of brokers that fail as told, and a check that nothing of it is left afterwards."""

import asyncio  # noqa: TID251 - the client is asyncio's, and so is what it leaves behind
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
from airy.bus.record import Emit, Record, TopicPartition
from airy.bus.worker import task_group
from airy.errors import Unavailable
from tests.kit.pulse import LonePulse
from tests.kit.servers.mock_kafka import Api, MockKafka
from tests.kit.servers.ports import HOST
from tests.kit.servers.proxy import Proxy

PATIENCE_S = 120.0  # for what must come, or go: the machine may be busy
SOON_S = 1.2  # a session that nobody is left out for long by, see `settings`; a busy machine is out of it in no time

T = TypeVar("T")

IN: Topic[Any] = Topic("in", bytes, partitions=1, retention="kept")
OUT: Topic[Any] = Topic("out", bytes, partitions=1, retention="kept")
DEAD: Topic[Any] = Topic("dead", bytes, partitions=1, retention="kept")
WIDE: Topic[Any] = Topic("wide", bytes, partitions=2, retention="kept")
TOPICS = (IN, OUT, DEAD, WIDE)


def settings(bootstrap: Sequence[str], **others: Any) -> KafkaSettings:
    """Deadlines a test can wait for; those it does not mean to meet are generous.

    A mock coordinator lets nobody in for a session, less one second, after somebody left: who joins again takes
    `SOON_S`, and must not mind being put out by a busy machine.
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


class Stage(MockKafka):
    """A mock cluster for many tests: making one takes a second, topics and groups of one's own take nothing."""

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
        """Everything to and from the broker goes through it."""
        host, _, port = self.bootstrap[broker - 1].partition(":")
        async with Proxy(host, int(port)) as proxy:
            self.advertise(HOST, proxy.port, broker)
            yield proxy

    def settings(self, **limits: Any) -> KafkaSettings:
        return settings(self.bootstrap, namespace=self.namespace, **limits)


_NUMBERS = count()


@asynccontextmanager
async def serving(stage: Stage, **limits: Any) -> AsyncIterator[KafkaBus]:
    bus, pulse = KafkaBus(TOPICS, stage.settings(**limits)), LonePulse()
    async with nothing_left(), task_group() as tasks:
        tasks.start_soon(_run, bus, pulse)
        await pulse.is_ready.wait()
        yield bus
        pulse.draining.set()


async def _run(bus: KafkaBus, pulse: LonePulse) -> None:
    """Again until it has started: that is no test's deadline, and may be shorter than a busy machine takes."""
    while True:
        try:
            return await bus.run(pulse)
        except Unavailable:
            if pulse.is_ready.is_set():
                raise


def hurry(part: Any, **limits: float) -> None:
    """The deadlines of a bus's part from now on: what a test does before it means to meet them may take its time."""
    part._settings = replace(part._settings, **limits)


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """What happens inside leaves no task behind, and nothing for the loop to complain about."""
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
        assert not ours, ours  # the bare kind is what the client tells itself, and nobody else can look at
    finally:
        loop.set_exception_handler(handler)


def _tasks() -> set["asyncio.Task[Any]"]:
    """But those of a proxy, which is closed later."""
    return {task for task in asyncio.all_tasks() if "Proxy." not in getattr(task.get_coro(), "__qualname__", "")}


def numbers(topic: Topic[Any], begin: int, end: int) -> list[Emit]:
    return [topic.emit("key", b"%d" % number) for number in range(begin, end)]


def of(records: Sequence[Record]) -> list[int]:
    return [int(record.value or b"") for record in records]


def first(values: Sequence[int]) -> list[int]:
    """As the fold sees them: what comes again does nothing."""
    return list(dict.fromkeys(values))


async def log(bus: Bus, topic: Topic[Any]) -> list[Record]:
    """All that is in it."""
    starts, ends = await bus.starts([topic]), await bus.ends([topic])
    records: list[Record] = []
    async with bus.tail(starts) as tail:
        with anyio.fail_after(PATIENCE_S):
            while any(tail.position(where) < end for where, end in ends.items()):
                records += await tail.fetch(records_max=10_000, wait_s=0.5)
    return records


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Again and again until somebody is there: for a bus whose deadlines a busy machine may miss."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            try:
                return await ask()
            except Unavailable:
                await anyio.sleep(0.02)


async def commits(subscription: Subscription, offsets: Mapping[TopicPartition, int]) -> None:
    """Again and again until it is taken: a busy machine may have been out of the group, and joins again."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            try:
                return await subscription.commit(offsets)
            except (Fenced, Unavailable):
                await answered(lambda: subscription.fetch(records_max=0, wait_s=0.1))


async def published(bus: Bus, emits: Sequence[Emit]) -> int:
    """Again and again until it is; how often it was tried."""
    with anyio.fail_after(PATIENCE_S):
        for tried in range(1, 10_000):
            try:
                await bus.publish(emits)
            except Unavailable:
                await anyio.sleep(0.02)
            else:
                return tried
    raise AssertionError("unreachable")
