"""Topics, their records and the log lines of processes, on a real cluster."""

from pathlib import Path
from random import Random
from secrets import token_hex

import anyio
import pytest

from airy import topics
from airy.actors.log_publisher import LogPublisher
from airy.actors.process_logs import ProcessLogs
from airy.actors.runtime import Context
from airy.app import topic_admin
from airy.app.log_transfer.open_log import open_log
from airy.bus.api import Bus
from airy.bus.record import ProducerRecord
from airy.clock import SystemClock
from airy.commands import TopicBrowser
from airy.commands.topic_browser import BrowsedPage, BrowseRequest
from airy.config import BusConfig, Config, DataConfig, HttpConfig, KafkaConfig
from airy.log_ring import LogRing
from tests.kit.servers.shared import SharedKafka

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

RAW = topics.source_events("facebook")
CLOCK = SystemClock()


async def test_records_are_browsed_lag_is_shown_and_log_lines_arrive(tmp_path: Path, kafka: SharedKafka) -> None:
    place = KafkaConfig(bootstrap=tuple(kafka.bootstrap), namespace=f"log-{token_hex(4)}", replication=1, min_in_sync=1)
    bus_config = BusConfig(kind="kafka", kafka=place)
    config = Config(data=DataConfig(directory=str(tmp_path)), bus=bus_config, http=HttpConfig(port=1))
    assert (await topic_admin.apply(config)).empty
    async with open_log(config) as bus:
        await _browses(bus)
        await _shows_lag(bus)
        await _reads_log_lines(bus)


def numbers(page: BrowsedPage) -> list[int]:
    return [int(str(record.value)) for record in page.records]


async def _browses(bus: Bus) -> None:
    now_ms = CLOCK.now_ms()
    await bus.publish(
        [
            ProducerRecord(RAW.name, number % 3, b"page-%d" % (number % 2), b"no. %d" % number, (), now_ms + number)
            for number in range(60)
        ]
    )
    browser = TopicBrowser(bus, CLOCK, lambda text: text.removeprefix("no. "))
    newest = await browser.browse(BrowseRequest(topic=RAW.name, page_size=25))
    assert (numbers(newest), newest.at_end) == (list(range(35, 60)), True)
    older = BrowseRequest(topic=RAW.name, positions=newest.older, direction="older", page_size=30)
    assert numbers(await browser.browse(older)) == list(range(5, 35))
    late = BrowseRequest(topic=RAW.name, at_ms=now_ms + 57)
    assert numbers(await browser.browse(late)) == [57, 58, 59]
    one = BrowseRequest(topic=RAW.name, partitions=[1], offset=18)
    assert numbers(await browser.browse(one)) == [55, 58]


async def _shows_lag(bus: Bus) -> None:
    async with bus.subscribe([RAW], group="sources.facebook.router") as member:
        with anyio.fail_after(30):
            while not member.assignment:
                await member.fetch(records_max=0, wait_s=1)
        await member.commit({tp: 19 if tp.partition < 3 else 0 for tp in RAW.topic_partitions})
    [raw] = [state for state in await TopicBrowser(bus, CLOCK).find_all() if state.topic.name == RAW.name]
    [group] = raw.groups
    assert (raw.records, group.lag) == (60, 3)
    assert group.age_s is not None
    assert [each.records for each in raw.partitions][:4] == [20, 20, 20, 0]
    assert [(each.position, each.lag) for each in group.partitions][2:4] == [(19, 1), (0, 0)]


async def _reads_log_lines(bus: Bus) -> None:
    ring = LogRing(epoch="run")
    ring.append(b'{"event":"process.started"}')
    await LogPublisher(bus, ring, lambda: "facebook:1").publish()
    logs = ProcessLogs(LogRing(epoch="own"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(logs.run, Context("process-logs", clock=CLOCK, random=Random(0)), bus)
        with anyio.fail_after(30):
            while "facebook:1" not in logs.rings():
                await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    assert logs.rings()["facebook:1"].after(None).lines == [b'{"event":"process.started"}']
