"""Every bus tells how long its appends took, by topic, also those that were given up."""

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

    async def _publish(self, emits: Any) -> Any:
        await anyio.sleep(self.took_s)
        if self.fails:
            raise Unavailable("no")
        return await super()._publish(emits)


async def test_a_call_counts_once_for_each_of_its_topics_with_the_time_it_took() -> None:
    async with running(Slow([ONE, TWO], clock=StepClock())) as bus:
        bus.took_s = 0.25
        await bus.publish([ONE.emit("a", b""), ONE.emit("b", b""), TWO.emit("a", b"")])
        bus.took_s = 2.0
        await bus.publish([TWO.emit("a", b"")])
        assert {name: seen(each) for name, each in bus.appends.items()} == {"one": (1, 0.25), "two": (2, 2.25)}


async def test_what_was_given_up_counts_with_the_time_that_took() -> None:
    async with running(Slow([ONE], clock=StepClock())) as bus:
        bus.took_s, bus.fails = 10.0, True
        with pytest.raises(Unavailable):
            await bus.publish([ONE.emit("a", b"")])
        assert seen(bus.appends["one"]) == (1, 10.0)


async def test_nothing_to_publish_is_no_append() -> None:
    async with running(MemoryBus([ONE], clock=StepClock())) as bus:
        await bus.publish([])
        assert bus.appends == {}


async def test_on_kafka_the_wait_for_the_cluster_counts_too() -> None:
    bus = KafkaBus([ONE], KafkaSettings(bootstrap=("nowhere:1",)))

    async def publish(emits: Any) -> list[None]:
        await anyio.sleep(0.5)
        return [None for _ in emits]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.publish, [ONE.emit("a", b""), ONE.emit("b", b"")])
        await anyio.sleep(1.0)
        bus._open = SimpleNamespace(producer=SimpleNamespace(publish=publish))  # type: ignore[assignment]
        bus._opened.set()
    assert seen(bus.appends["one"]) == (1, 1.5)
