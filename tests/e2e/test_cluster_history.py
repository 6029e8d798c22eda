"""Histories of two API replicas on a real Kafka, with one of them killed or a group rebalanced in the middle.

What clients wrote to one replica and read from the other is judged by the checker the simulation uses: linear per
conversation, and a read with a position never misses what that position covers. `HISTORY_RUNS` says how many.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest
from anyio.to_thread import run_sync
from msgspec.structs import replace

from airy import topics
from airy.bus.kafka import KafkaBus, KafkaSettings
from tests.kit.builders import Chat
from tests.kit.bus import running
from tests.kit.cluster.cluster import COMPONENTS, Cluster, Replica
from tests.kit.process import TOKEN, connect, http_session, messenger
from tests.kit.servers.redis import RedisServer
from tests.kit.servers.shared import SharedKafka
from tests.sim.api_clients import ApiClient, ApiResponse, Ask
from tests.sim.history import Operation, violations

RUNS = int(os.environ.get("HISTORY_RUNS", "20"))
AT_ONCE = 5  # runs per fault
CHATS, CLIENTS, STEPS, RECEIVES = 2, 3, 12, 4
SETTLE_S = 240.0  # bounds a hang
CALL_S = 120.0  # of the provider's appends, whose outcome must be known

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.cluster,
    pytest.mark.timeout(360 + 20 * RUNS),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]


class Run:
    """One history with its own conversations, clients, and a provider that keeps writing."""

    def __init__(self, number: int, asks: Mapping[str, Ask], bus: KafkaBus, seed: int) -> None:
        self.history: list[Operation] = []
        self._random = Random(f"run {number} of {seed}")
        self._bus = bus
        self._asks = asks
        self._chats = [Chat(number * CHATS + each) for each in range(CHATS)]
        self._names = [chat.conversation_id for chat in self._chats]
        self._clients = [
            ApiClient(f"c{each}", asks, self._names, Random(f"client {each} of run {number}"), self.history)
            for each in range(CLIENTS)
        ]

    async def go(self) -> None:
        for chat in self._chats:
            await self._receive(chat, 0)
        async with anyio.create_task_group() as acting:
            for client in self._clients:
                acting.start_soon(client.act, STEPS)
            acting.start_soon(self._receive_more)

    async def read_finally(self) -> None:
        """Reads at the end of a quiet log: writes with an unknown outcome may appear late."""
        before, begun = None, len(self.history)
        with anyio.fail_after(SETTLE_S):
            while before != (ends := await self._ends()):
                self.history[begun:] = [replace(each, final=False) for each in self.history[begun:]]
                before, begun = ends, len(self.history)
                self._clients[0].learn({partition: end - 1 for partition, end in ends.items() if end})
                for replica in self._asks:
                    await self._read_all(replica)

    async def _ends(self) -> dict[int, int]:
        """End offsets of the partitions of our conversations."""
        ours = {topics.EVENTS.partition(name) for name in self._names}
        ends = await self._bus.end_offsets([topics.EVENTS])
        return {tp.partition: end for tp, end in ends.items() if tp.partition in ours}

    async def _read_all(self, replica: str) -> None:
        reader = self._clients[0]
        for name in self._names:
            while not await reader.read_messages(replica, name, final=True):
                await anyio.sleep(0.1)
            while not await reader.read_conversation(replica, name, final=True):
                await anyio.sleep(0.1)

    async def _receive_more(self) -> None:
        for number in range(1, RECEIVES):
            await anyio.sleep(self._random.uniform(0.0, 1.0))
            await self._receive(self._random.choice(self._chats), number)

    async def _receive(self, chat: Chat, number: int) -> None:
        """A fact of a received message, as the router writes it."""
        fact, begin = chat.received(f"r{number}"), anyio.current_time()
        (position,) = await self._bus.publish([topics.EVENTS.record(fact.conversation_id, fact)])
        self.history.append(
            Operation(
                client="provider",
                replica="",
                kind="receive",
                conversation=chat.conversation_id,
                begin=begin,
                end=anyio.current_time(),
                outcome="ok",
                position=position.offset,
                message_id=fact.message_id,
            )
        )


async def test_histories_of_two_replicas_are_linear(
    tmp_path: Path, kafka: SharedKafka, redis_server: RedisServer, seed: int
) -> None:
    random = Random(seed)
    parts = {name: COMPONENTS[name] for name in ("api", "sources-facebook")}
    async with messenger() as (_, graph_url), http_session() as session:
        cluster = Cluster(
            tmp_path, kafka=kafka.bootstrap, redis=redis_server.url, graph_url=graph_url, components=parts
        )
        settings = KafkaSettings(
            bootstrap=tuple(kafka.bootstrap), namespace=cluster.namespace, publish_s=CALL_S, call_s=CALL_S
        )
        async with cluster.up(), running(KafkaBus(topics.ALL, settings)) as bus:
            await connect(cluster, session)
            asks = {replica.name: _ask(session, replica) for replica in cluster.of("api")}
            runs = [Run(number, asks, bus, seed) for number in range(RUNS)]
            for begin in range(0, RUNS, AT_ONCE):
                await _with_trouble(runs[begin : begin + AT_ONCE], cluster, session, random)
            assert set((await run_sync(cluster.stop)).values()) == {0}
    for number, run in enumerate(runs):
        assert violations(run.history) == [], f"run {number} of seed {seed}"
    assert sum(operation.outcome == "ok" for run in runs for operation in run.history) > RUNS * CLIENTS * STEPS / 2


async def _with_trouble(runs: Sequence[Run], cluster: Cluster, session: aiohttp.ClientSession, random: Random) -> None:
    async with anyio.create_task_group() as tasks:
        for run in runs:
            tasks.start_soon(run.go)
        await anyio.sleep(random.uniform(0.5, 1.5))
        replica = random.choice(list(cluster.processes.values()))  # an API replica, or a process whose group rebalances
        if random.random() < 0.5:
            replica.kill()
        else:
            assert await run_sync(replica.stop) == 0, replica.tail()
        replica.start()
        await cluster.ready(session, [replica], starting=True)
    async with anyio.create_task_group() as tasks:
        for run in runs:
            tasks.start_soon(run.read_finally)


def _ask(session: aiohttp.ClientSession, replica: Replica) -> Ask:
    async def ask(path: str, body: Mapping[str, object], headers: Mapping[str, str]) -> ApiResponse:
        sent = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json", **headers}
        try:
            async with session.post(f"{replica.url}{path}", data=msgspec.json.encode(body), headers=sent) as answer:
                text = await answer.read()
                response = {name.lower(): value for name, value in answer.headers.items()}
                document: Any = msgspec.json.decode(text) if text else None
                return ApiResponse(answer.status, response, document)
        except (aiohttp.ClientError, TimeoutError):
            await anyio.sleep(0.05)
            return ApiResponse(0, {})

    return ask
