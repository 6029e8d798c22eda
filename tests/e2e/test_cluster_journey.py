"""The journey of docs/tour.md with every component in processes of its own, two of each, on Kafka and Redis."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest

from tests.kit.cluster import Cluster
from tests.kit.process import TOKEN, Subscriber, connect, messenger
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.redis import RedisServer

pytestmark = [
    pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(180),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]  # fmt: skip

WITHIN_S = 30.0


@asynccontextmanager
async def installed(
    directory: Path, kafka: KafkaCluster, redis: RedisServer
) -> AsyncIterator[tuple[Cluster, aiohttp.ClientSession, Any, Subscriber]]:
    async with messenger() as (sim, graph_url), Subscriber().serving() as subscriber:
        cluster = Cluster(directory, kafka=kafka.bootstrap, redis=redis.url, graph_url=graph_url)
        async with cluster.up(), aiohttp.ClientSession() as session:
            sim.target_url = f"{cluster.url}/facebook"
            yield cluster, session, sim, subscriber
            assert set(cluster.stop().values()) == {0}


async def test_the_journey_through_eight_processes(
    tmp_path: Path, kafka: KafkaCluster, redis_server: RedisServer
) -> None:
    async with installed(tmp_path, kafka, redis_server) as (cluster, session, sim, subscriber):
        hook = {"url": subscriber.url, "events": ["message.created"]}
        await cluster.call(session, "/webhooks.subscribe", hook)
        await connect(cluster, session)
        people = [sim.core.person() for _ in range(6)]
        for number, psid in enumerate(people):
            sim.core.says(psid, f"question {number}", time.time_ns() // 1_000_000)

        async def listed() -> list[Any]:
            found = (await cluster.call(session, "/conversations.list", {}))["data"]
            return found if len(found) == len(people) else []

        conversations = await eventually(listed)
        replies = {}
        for conversation in conversations:
            body = {"conversation_id": conversation["id"], "message": {"text": "an answer"}}
            replies[conversation["id"]] = (await cluster.call(session, "/messages.send", body))["id"]

        async def delivered() -> bool:
            return len({id_ for id_, _, _ in subscriber.received}) >= 2 * len(people)

        await eventually(delivered)
        assert all("traceparent" in headers for _, _, headers in subscriber.received)

        async def sent() -> bool:
            return all(len(sim.core.journal.sendings_of(reply)) == 1 for reply in replies.values())

        await eventually(sent)
        assert sim.core.journal.violations() == []


async def test_a_write_at_one_replica_is_read_at_the_other(
    tmp_path: Path, kafka: KafkaCluster, redis_server: RedisServer
) -> None:
    async with installed(tmp_path, kafka, redis_server) as (cluster, session, _, _):
        writer, reader = cluster.urls("api")
        for number in range(30):
            headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
            body = msgspec.json.encode({"name": f"tag {number}", "color": "tag-red"})
            async with session.post(f"{writer}/tags.create", data=body, headers=headers) as answer:
                assert answer.status == 201
                headers["x-airy-position"] = answer.headers["x-airy-position"]
            async with session.post(f"{reader}/tags.list", headers=headers) as answer:
                assert len((await answer.json())["data"]) == number + 1


async def eventually(look: Any) -> Any:
    with anyio.fail_after(WITHIN_S):
        while not (found := await look()):
            await anyio.sleep(0.05)
    return found
