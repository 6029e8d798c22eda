"""Every bus measures the duration of its publishes by topic, cancelled ones included."""

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from airy.bus import Topic
from airy.bus.kafka import KafkaBus, KafkaSettings
from airy.bus.memory import MemoryBus
from airy.errors import Unavailable
from airy.histogram import Histogram
from tests.kit.bus import StepClock, running

ONE: Topic[Any] = Topic("one", bytes, partitions=2, retention="kept")
TWO: Topic[Any] = Topic("two", bytes, partitions=2, retention="kept")


def seen(histogram: Histogram) -> tuple[int, float]:
    return sum(histogram.counts), round(histogram.sum_s, 3)


class Slow(MemoryBus):
    took_s = 0.0
    fails = False

    async def _publish(self, records: Any) -> Any:
        await anyio.sleep(self.took_s)
        if self.fails:
            raise Unavailable("no")
        return await super()._publish(records)


async def test_a_publish_counts_once_per_topic_with_its_duration() -> None:
    async with running(Slow([ONE, TWO], clock=StepClock())) as bus:
        bus.took_s = 0.25
        await bus.publish([ONE.record("a", b""), ONE.record("b", b""), TWO.record("a", b"")])
        bus.took_s = 2.0
        await bus.publish([TWO.record("a", b"")])
        assert {name: seen(each) for name, each in bus.appends.items()} == {"one": (1, 0.25), "two": (2, 2.25)}


async def test_a_cancelled_publish_counts_with_its_duration() -> None:
    async with running(Slow([ONE], clock=StepClock())) as bus:
        bus.took_s, bus.fails = 10.0, True
        with pytest.raises(Unavailable):
            await bus.publish([ONE.record("a", b"")])
        assert seen(bus.appends["one"]) == (1, 10.0)


async def test_an_empty_publish_is_not_counted() -> None:
    async with running(MemoryBus([ONE], clock=StepClock())) as bus:
        await bus.publish([])
        assert bus.appends == {}


async def test_on_kafka_the_duration_includes_the_wait_for_the_cluster() -> None:
    bus = KafkaBus([ONE], KafkaSettings(bootstrap=("nowhere:1",)))

    async def publish(records: Any) -> list[None]:
        await anyio.sleep(0.5)
        return [None for _ in records]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.publish, [ONE.record("a", b""), ONE.record("b", b"")])
        await anyio.sleep(1.0)
        bus._connection = SimpleNamespace(producer=SimpleNamespace(publish=publish))  # type: ignore[assignment]
        bus._connected.set()
    assert seen(bus.appends["one"]) == (1, 1.5)
