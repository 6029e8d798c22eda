"""Concurrent writes of entities by two processes on a real broker: every update is in the result.

Each client owns one metadata key of the channel and one way to reach the contact, so a lost update is a key with an
older value. All of them also rename one tag.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from secrets import token_hex

import anyio
import pytest
from msgspec import Struct

from airy import topics
from airy.actors.projector import Projector
from airy.actors.runtime import Context
from airy.app import topic_admin
from airy.app.kafka import kafka_settings
from airy.bus.kafka import KafkaBus
from airy.clock import RandomIds, SystemClock
from airy.commands import Conflict, RequestContext, Writer
from airy.commands.contacts import ContactCommands
from airy.commands.entities import TagCommands
from airy.commands.metadata import MetadataCommands
from airy.config import BusConfig, Config, DataConfig, KafkaConfig
from airy.model.contact_edit import ContactEdit
from airy.store.api import Store
from airy.store.sqlite import SqliteStore
from tests.kit.builders import channel, raw
from tests.kit.bus import running
from tests.kit.servers.shared import SharedKafka

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

CLIENTS = 3  # of each process
UPDATES = 6  # of each client
CONTEXT = RequestContext(caller="tests", request_id="r")


class Process(Struct):
    store: Store
    writer: Writer
    projector: Projector


@asynccontextmanager
async def process(config: Config, number: int) -> AsyncIterator[Process]:
    clock = SystemClock()
    store = SqliteStore(":memory:")
    await store.open()
    async with running(KafkaBus(topics.ALL, kafka_settings(config))) as bus, anyio.create_task_group() as tasks:
        projector = Projector(bus, store, idle_s=0.2)
        tasks.start_soon(projector.run, Context(f"store {number}", clock=clock, random=Random(number)))
        writer = Writer(bus, projector.wait_for_position, clock, RandomIds(Random(token_hex(8))), within_s=30.0)
        yield Process(store, writer, projector)
        tasks.cancel_scope.cancel()
    await store.close()


async def test_two_processes_lose_no_update(tmp_path: Path, kafka: SharedKafka) -> None:
    place = KafkaConfig(bootstrap=tuple(kafka.bootstrap), namespace=f"e-{token_hex(4)}", replication=1, min_in_sync=1)
    config = Config(data=DataConfig(directory=str(tmp_path)), bus=BusConfig(kind="kafka", kafka=place))
    assert (await topic_admin.apply(config)).empty
    page, accepted, reached = channel(), dict[str, int](), dict[str, str]()
    async with process(config, 0) as one, process(config, 1) as two:
        connected = await one.writer.append_entity(topics.CHANNELS, page.id, page, base=0, write_id="connect")
        tag = await TagCommands(one.writer, one.store).create("urgent", "tag-red", CONTEXT)
        assert await two.projector.wait_for_position(connected, 30.0)
        contact = await ContactCommands(one.writer, one.store).create([ContactEdit()], CONTEXT)
        (person,) = contact.value
        for written in (tag.position, contact.position):
            assert await two.projector.wait_for_position(written, 30.0)

        async def update(of: Process, key: str) -> None:
            metadata, tags = MetadataCommands(of.writer, of.store), TagCommands(of.writer, of.store)
            contacts = ContactCommands(of.writer, of.store)
            for number in range(UPDATES):
                try:
                    await contacts.update(person.contact.id, ContactEdit(via={key: str(number)}))
                    reached[key] = str(number)
                    await metadata.upsert("channel", page.id, raw({key: number}), CONTEXT)
                    accepted[key] = number
                    await tags.update(tag.value.id, f"{key}-{number}", None)
                except Conflict:
                    continue  # nothing was written

        async with anyio.create_task_group() as clients:
            for client in range(CLIENTS):
                clients.start_soon(update, one, f"one{client}")
                clients.start_soon(update, two, f"two{client}")
        last = await MetadataCommands(one.writer, one.store).upsert("channel", page.id, raw({"end": 1}), CONTEXT)
        assert await two.projector.wait_for_position(last, 30.0)
        last = await ContactCommands(one.writer, one.store).update(person.contact.id, ContactEdit(title="end"))
        assert await two.projector.wait_for_position(last, 30.0)

        for of in (one, two):
            found = await of.store.channel(page.id)
            assert found is not None
            shown = {
                key.removeprefix("user_data."): value for key, value in found.metadata.items() if "user_data" in key
            }
            assert {key: int(bytes(value)) for key, value in shown.items()} == accepted | {"end": 1}
            assert (found.connected, found.token) == (page.connected, page.token)
            view = await of.store.contact(person.contact.id)
            assert view is not None
            assert (view.contact.via, view.contact.title) == (reached, "end")
        assert await one.store.tag(tag.value.id) is not None
        assert len(accepted) == 2 * CLIENTS
