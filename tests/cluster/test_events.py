"""Clients of events that reconnect through two processes on a real broker miss no change and receive none twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from secrets import token_hex

import anyio
import pytest
from msgspec import Struct

from airy import topics
from airy.actors.change_feed import ChangeFeed
from airy.actors.feed_position import PARTITIONS, decode
from airy.actors.projector import Projector
from airy.actors.runtime import Context
from airy.app import topic_admin
from airy.app.kafka import kafka_settings
from airy.bus.kafka import KafkaBus
from airy.clock import SystemClock
from airy.config import BusConfig, Config, DataConfig, KafkaConfig
from airy.store.sqlite import SqliteStore
from tests.kit.builders import Chat, channel
from tests.kit.bus import running
from tests.kit.servers.shared import SharedKafka
from tests.sim.event_history import Received
from tests.sim.event_simulation import SCOPES, EventClient

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

RUNS = 5
MESSAGES = 150  # of each conversation
CONVERSATIONS = 4


class Process(Struct):
    bus: KafkaBus
    store: SqliteStore
    projector: Projector
    feed: ChangeFeed


@asynccontextmanager
async def process(config: Config, number: int) -> AsyncIterator[Process]:
    store = SqliteStore(":memory:")
    await store.open()
    async with running(KafkaBus(topics.ALL, kafka_settings(config))) as bus, anyio.create_task_group() as tasks:
        projector = Projector(bus, store, idle_s=0.2)
        tasks.start_soon(projector.run, Context(f"store {number}", clock=SystemClock(), random=Random(number)))
        while not projector.caught_up:
            await projector.wait_for_progress(projector.version, 1.0)
        feed = ChangeFeed(bus, store, projector)
        tasks.start_soon(feed.broadcaster().run, Context("broadcaster", clock=SystemClock(), random=Random(number)))
        yield Process(bus, store, projector, feed)
        tasks.cancel_scope.cancel()
    await store.close()


@pytest.mark.parametrize("run", range(RUNS))
async def test_reconnecting_clients_have_every_change_once(tmp_path: Path, kafka: SharedKafka, run: int) -> None:
    place = KafkaConfig(bootstrap=tuple(kafka.bootstrap), namespace=f"v-{token_hex(4)}", replication=1, min_in_sync=1)
    config = Config(data=DataConfig(directory=str(tmp_path)), bus=BusConfig(kind="kafka", kafka=place))
    assert await topic_admin.apply(config) == 0
    clients = [EventClient(f"e{number}", scope, Random(run * 10 + number)) for number, scope in enumerate(SCOPES)]
    async with process(config, 0) as one, process(config, 1) as two:
        written = anyio.Event()

        async def follow(client: EventClient) -> None:
            while not written.is_set() or not await reached(client):
                at = client.random.choice((one, two))
                await client.session(at.feed, client.random.uniform(0.01, 0.1))

        async def reached(client: EventClient) -> bool:
            ends = await one.bus.end_offsets(topics.CHANGE_TOPICS)
            token = decode(client.token) if client.token else None
            return token is not None and all(
                offset >= ends[tp] for tp, offset in zip(PARTITIONS, token.position.offsets, strict=True)
            )

        async def write(by: Process, chat: Chat) -> None:
            for number in range(MESSAGES):
                fact = chat.received(f"{number}")
                await by.bus.publish([topics.EVENTS.record(fact.conversation_id, fact)])

        with anyio.fail_after(120):
            async with anyio.create_task_group() as tasks:
                for client in clients:
                    tasks.start_soon(follow, client)
                await one.bus.publish([topics.CHANNELS.record(channel().id, channel())])
                async with anyio.create_task_group() as writing:
                    for number in range(CONVERSATIONS):
                        writing.start_soon(write, (one, two)[number % 2], Chat(number))
                written.set()

        for client in clients:
            expected = {
                tp: [
                    Received(tp, (each.position.offset, each.nth), each.change.id)
                    for each in await one.store.changes(tp, after=(-1, -1), changes_max=100_000)
                    if client.scope.contains(each.change)
                ]
                for tp in PARTITIONS
            }
            assert sum(map(len, expected.values())) > MESSAGES
            assert client.history.violations(expected) == []
            assert client.history.resyncs == 0
        assert sum(client.history.resumed for client in clients) > 3, "sessions continued with events"
