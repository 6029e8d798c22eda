"""Two API servers over a real broker: clients whose websockets reconnect through either of them miss no change and
receive none twice, while others write over HTTP.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from secrets import token_hex
from typing import Any

import aiohttp
import anyio
import pytest
from msgspec import Struct, field

from airy import topics
from airy.actors.feed_position import PARTITIONS, decode
from airy.actors.runtime import Context
from airy.app import topic_admin
from airy.app.edge import build_edge
from airy.app.kafka import kafka_settings
from airy.app.services import Ports, Services, build_services
from airy.app.tree_status import TreeStatus
from airy.bus.kafka import KafkaBus
from airy.bus.record import TopicPartition
from airy.clock import RandomIds, SystemClock
from airy.config import BusConfig, Config, DataConfig, KafkaConfig, SecurityConfig
from airy.http.server import HttpServer
from airy.live_config.live_config import LiveConfig
from airy.model.change import ChangeKind
from airy.seal import Sealer
from airy.secret import Secret
from airy.store.sqlite import SqliteStore
from tests.kit.api import no_network
from tests.kit.builders import Chat, channel
from tests.kit.bus import running
from tests.kit.config_source import MemoryConfigSource
from tests.kit.downloads import WholeBodies
from tests.kit.media import MemoryStorage
from tests.kit.servers.shared import SharedKafka
from tests.sim.event_history import EventHistory, Received

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

RUNS = 5
CONVERSATIONS = 4
WRITES = 20  # over HTTP, for each conversation
MESSAGES = 40  # of each contact
COMPONENTS = frozenset({"http", "api-communication", "api-admin", "api-websocket"})
TOKEN = "a-token-of-thirty-two-characters"
HEADERS = {"authorization": f"Bearer {TOKEN}"}
KINDS = ((), (), (ChangeKind.MESSAGE_CREATED, ChangeKind.TAG_UPDATED))  # that each client subscribes to; (): all
PATIENCE_S = 120.0


class Replica(Struct):
    services: Services
    url: str


@asynccontextmanager
async def replica(config: Config, number: int) -> AsyncIterator[Replica]:
    store, clock = SqliteStore(":memory:"), SystemClock()
    await store.open()
    async with running(KafkaBus(topics.ALL, kafka_settings(config))) as bus, anyio.create_task_group() as tasks:
        ports = Ports(
            clock=clock,
            ids=RandomIds(Random(token_hex(8))),
            bus=bus,
            store=store,
            queue=None,  # type: ignore[arg-type] - no webhooks here
            sealer=Sealer({"k1": bytes(32)}),
            media=MemoryStorage(),
            provider_http=no_network,
            provider_files=WholeBodies(no_network),
            attachment_files=WholeBodies(no_network),
            webhook_http=no_network,
        )
        services = build_services(config, ports)
        app, _ = build_edge(
            services,
            COMPONENTS,
            TreeStatus(services, COMPONENTS, {}),
            dict,
            LiveConfig(services.config, MemoryConfigSource()),
        )  # type: ignore[arg-type]
        served = anyio.Event()
        context = Context("http", clock=clock, random=Random(number), on_ready=served.set)
        server = HttpServer(app, drain_s=0.1, websocket_bytes_max=app.websocket_bytes_max)
        for actor in (services.projector, services.changes.broadcaster()):
            tasks.start_soon(actor.run, Context("actor", clock=clock, random=Random(number)))
        tasks.start_soon(server.run, context)
        while not services.projector.caught_up:
            await services.projector.wait_for_progress(services.projector.version, 1.0)
        await served.wait()
        assert server.address is not None
        yield Replica(services, f"http://127.0.0.1:{server.address[1]}")
        tasks.cancel_scope.cancel()
    await store.close()


class EventClient(Struct):
    """Keeps the token of what it received last; `sessions` holds what each of its websockets received."""

    kinds: tuple[ChangeKind, ...]
    random: Random
    resume: str = ""
    sessions: list[list[dict[str, Any]]] = field(default_factory=list)

    async def session(self, http: aiohttp.ClientSession, url: str) -> None:
        """One websocket, closed in order or cut after a while, wherever that is in the events."""
        received: list[dict[str, Any]] = []
        self.sessions.append(received)
        query = {"resume": self.resume} if self.resume else {}
        query |= {"kind": ",".join(self.kinds)} if self.kinds else {}
        socket = await http.ws_connect(f"{url}/events", params=query, headers=HEADERS)
        with anyio.move_on_after(self.random.uniform(0.01, 0.3)):
            while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                event = message.json()
                received.append(event)
                self.resume = event["resume"]
            assert message.data == 1013, message  # this replica has not folded the position yet
        if self.random.random() < 0.5:
            await socket.close()
        elif (transport := socket._writer.transport) is not None:
            transport.abort()

    def has_reached(self, ends: dict[TopicPartition, int]) -> bool:
        token = decode(self.resume) if self.resume else None
        return token is not None and all(
            offset >= ends[tp] for tp, offset in zip(PARTITIONS, token.position.offsets, strict=True)
        )

    def history(self, changes: dict[str, Received]) -> EventHistory:
        history = EventHistory()
        for session in self.sessions:
            history.connect()
            for event in session:
                token = decode(event["resume"])
                assert token is not None
                if "payload" in event:
                    history.add(changes[event["id"]])
                elif event["type"] != "position":
                    history.mark(event["type"] == "resync", token.position)
        return history


async def changes_of(services: Services, kinds: tuple[ChangeKind, ...] = ()) -> dict[TopicPartition, list[Received]]:
    return {
        tp: [
            Received(tp, (each.position.offset, each.nth), each.change.id)
            for each in await services.ports.store.changes(tp, after=(-1, -1), changes_max=100_000)
            if not kinds or each.change.kind in kinds
        ]
        for tp in PARTITIONS
    }


class Writing(Struct):
    """What goes on while the clients of events reconnect. Every write goes to one of the replicas."""

    http: aiohttp.ClientSession
    replicas: tuple[Replica, Replica]
    random: Random

    async def contacts(self, chat: Chat) -> None:
        bus = self.random.choice(self.replicas).services.ports.bus
        for number in range(MESSAGES):
            fact = chat.received(f"{number}")
            await bus.publish([topics.EVENTS.record(fact.conversation_id, fact)])

    async def agents(self, chat: Chat) -> None:
        """Every request is on behalf of the same conversation, so replicas write its facts concurrently."""
        conversation = chat.conversation_id
        for number in range(WRITES):
            path, body = self.random.choice(
                (
                    ("/messages.send", {"conversation_id": conversation, "message": {"text": f"{number}"}}),
                    ("/conversations.setState", {"conversation_id": conversation, "state": f"s{number}"}),
                    ("/conversations.markRead", {"conversation_id": conversation}),
                    ("/tags.create", {"name": f"{conversation} {number}", "color": "tag-red"}),
                )
            )
            await self._post(path, body)

    async def _post(self, path: str, body: dict[str, object]) -> None:
        url = self.random.choice(self.replicas).url
        async with self.http.post(f"{url}{path}", json=body, headers=HEADERS) as answer:
            assert answer.status < 300, (path, answer.status, await answer.text())


async def write(http: aiohttp.ClientSession, replicas: tuple[Replica, Replica], random: Random) -> None:
    one, _ = replicas
    chats = [Chat(number) for number in range(CONVERSATIONS)]
    await one.services.ports.bus.publish([topics.CHANNELS.record(channel().id, channel())])
    first = [topics.EVENTS.record(chat.conversation_id, chat.received("hello")) for chat in chats]
    positions = await one.services.ports.bus.publish(first)
    for each in replicas:
        for position in positions:
            assert await each.services.projector.wait_for_position(position, PATIENCE_S)
    writing = Writing(http, replicas, random)
    async with anyio.create_task_group() as tasks:
        for chat in chats:
            tasks.start_soon(writing.contacts, chat)
            tasks.start_soon(writing.agents, chat)


@pytest.mark.parametrize("seed", range(RUNS))
async def test_websockets_that_reconnect_have_every_change_once(tmp_path: Path, kafka: SharedKafka, seed: int) -> None:
    place = KafkaConfig(bootstrap=tuple(kafka.bootstrap), namespace=f"v-{token_hex(4)}", replication=1, min_in_sync=1)
    config = Config(
        data=DataConfig(directory=str(tmp_path)),
        bus=BusConfig(kind="kafka", kafka=place),
        security=SecurityConfig(system_token=Secret(TOKEN)),
    )
    assert (await topic_admin.apply(config)).empty
    clients = [EventClient(kinds, Random(f"client {number} of {seed}")) for number, kinds in enumerate(KINDS)]
    async with replica(config, 0) as one, replica(config, 1) as two, aiohttp.ClientSession() as http:
        written = anyio.Event()

        async def follow(client: EventClient) -> None:
            while not written.is_set() or not client.has_reached(
                await one.services.ports.bus.end_offsets(topics.CHANGE_TOPICS)
            ):
                await client.session(http, client.random.choice((one, two)).url)

        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                for client in clients:
                    tasks.start_soon(follow, client)
                await write(http, (one, two), Random(f"writes of {seed}"))
                written.set()

        everything = {each.change_id: each for events in (await changes_of(one.services)).values() for each in events}
        assert len(everything) > CONVERSATIONS * (MESSAGES + WRITES)
        histories = [client.history(everything) for client in clients]
        for client, history in zip(clients, histories, strict=True):
            assert history.violations(await changes_of(one.services, client.kinds)) == []
            assert history.resyncs == 0
        assert any(history.resumed for history in histories), "a session continued with events"
