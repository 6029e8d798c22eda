"""The steps of docs/tour.md with two processes of every component, on Kafka and Redis."""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest
from anyio.to_thread import run_sync

from tests.kit.cluster import Cluster
from tests.kit.cluster.cluster import At
from tests.kit.process import (
    TOKEN,
    Subscriber,
    call_retrying,
    connect,
    http_session,
    list_when_caught_up,
    messenger,
    position_of,
)
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.redis import RedisServer

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]

WITHIN_S = 240.0  # bounds a hang


@asynccontextmanager
async def installed(
    directory: Path, kafka: KafkaCluster, redis: RedisServer
) -> AsyncIterator[tuple[Cluster, aiohttp.ClientSession, Any, Subscriber]]:
    async with messenger() as (sim, graph_url), Subscriber().serving() as subscriber:
        cluster = Cluster(directory, kafka=kafka.bootstrap, redis=redis.url, graph_url=graph_url)
        async with cluster.up(), http_session() as session:
            sim.target_url = cluster.url
            yield cluster, session, sim, subscriber
            assert set((await run_sync(cluster.stop)).values()) == {0}


async def test_a_message_and_its_reply_pass_through_eight_processes(
    tmp_path: Path, kafka: KafkaCluster, redis_server: RedisServer
) -> None:
    async with installed(tmp_path, kafka, redis_server) as (cluster, session, sim, subscriber):
        hook = {"url": subscriber.url, "events": ["message.created"]}
        await call_retrying(cluster, session, "/webhooks.subscribe", hook)
        await connect(cluster, session)
        people = [sim.core.person() for _ in range(6)]
        for number, psid in enumerate(people):
            sim.core.says(psid, f"question {number}", time.time_ns() // 1_000_000)

        async def listed() -> list[Any]:
            """At each replica, because any may receive the send."""
            each = [await call_retrying(At(url), session, "/conversations.list", {}) for url in cluster.urls("api")]
            return each[0]["data"] if all(len(found["data"]) == len(people) for found in each) else []

        conversations = await eventually(listed)
        replies = {}
        for conversation in conversations:
            body = {"conversation_id": conversation["id"], "message": {"text": "an answer"}}
            replies[conversation["id"]] = (await call_retrying(cluster, session, "/messages.send", body))["id"]

        async def delivered() -> bool:
            return len({id_ for id_, _, _ in subscriber.received}) >= 2 * len(people)

        await eventually(delivered)
        assert all("traceparent" in headers for _, _, headers in subscriber.received)

        async def sent() -> bool:
            return all(len(sim.core.journal.sends_of(reply)) == 1 for reply in replies.values())

        await eventually(sent)
        assert sim.core.journal.violations() == []


async def test_replicas_see_each_others_writes_and_the_status_of_every_process(
    tmp_path: Path, kafka: KafkaCluster, redis_server: RedisServer
) -> None:
    """Several scenarios in one installation, because the start is expensive."""
    async with installed(tmp_path, kafka, redis_server) as (cluster, session, _, _):
        await a_write_at_one_replica_is_read_at_the_other(cluster, session)
        await the_doctor_finds_no_problem(cluster)
        await a_change_of_the_configuration_reloads_the_process_that_answers_only(cluster, session)
        await one_api_process_tells_of_all_eight_and_of_those_that_were_killed(cluster, session)


async def a_write_at_one_replica_is_read_at_the_other(cluster: Cluster, session: aiohttp.ClientSession) -> None:
    writer, reader = cluster.urls("api")
    for number in range(30):
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        body = msgspec.json.encode({"name": f"tag {number}", "color": "tag-red"})
        headers["x-airy-position"] = await position_of(session, f"{writer}/tags.create", body, headers)
        assert len(await list_when_caught_up(session, f"{reader}/tags.list", headers)) == number + 1


async def the_doctor_finds_no_problem(cluster: Cluster) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cluster.airy, "doctor")
        tasks.start_soon(cluster.airy, "doctor", "--url", cluster.urls("api")[0], "--token", TOKEN)


async def a_change_of_the_configuration_reloads_the_process_that_answers_only(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    asked, other = (At(url) for url in cluster.urls("api"))
    consumers = {port_of(url) for url in cluster.urls("webhook-consumer")}

    async def started() -> dict[str, str]:
        told = (await call_retrying(asked, session, "/processes.list", {}))["data"]
        found = {port_of(each["instance"]): each["started_at"] for each in told if not each["stale"]}
        return found if len(found) == len(cluster.processes) else {}

    async def applied() -> bool:
        change = (await call_retrying(asked, session, "/components.list", {}))["last_change"]
        assert change["state"] in ("reloading", "applied"), change
        return bool(change["state"] == "applied")

    before = await eventually(started)
    changes = [{"name": "webhook-consumer", "data": {"timeoutS": 9}}]
    plan = await call_retrying(asked, session, "/components.plan", {"components": changes})
    assert {port_of(each["instance"]) for each in plan["restart_by_hand"]} == consumers
    await asked.call(session, "/components.update", {"components": changes, "fingerprint": plan["fingerprint"]})
    await eventually(applied)
    after = await eventually(started)
    assert {port for port in before if before[port] != after[port]} == {port_of(asked.url)}

    (difference,) = (await call_retrying(other, session, "/components.plan", {"components": []}))["differences"]
    assert difference["path"] == "components.webhook.consumer.timeoutS"


async def one_api_process_tells_of_all_eight_and_of_those_that_were_killed(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    """A live process may be stale for a moment on a busy machine, so the test waits for the expected state."""
    api, ports = At(cluster.urls("api")[0]), {port_of(each.url) for each in cluster.processes.values()}
    first, last = cluster.of("webhook-consumer")
    stopped = cluster.of("webhook-publisher")[0]

    async def listed() -> dict[str, bool]:
        told = (await call_retrying(api, session, "/processes.list", {}))["data"]
        return {port_of(each["instance"]): each["stale"] for each in told}

    async def first_is_silent() -> bool:
        return (await listed())[port_of(first.url)]

    async def consumer_is_healthy() -> bool:
        return bool(
            (await call_retrying(api, session, "/client.config", {}))["services"]["webhook-consumer"]["healthy"]
        )

    async def consumer_is_not() -> bool:
        return not await consumer_is_healthy()

    async def all_is_well_and_all_are_heard_of() -> list[str]:
        code, text = await status(cluster, api.url)
        lines = text.splitlines()
        rows = [line.split()[0] for line in lines[3 : lines.index("", 3)] if line[0] != " "] if code == 0 else []
        return rows if len(rows) >= len(ports) else []

    async def trees() -> dict[str, Any]:
        told = (await call_retrying(api, session, "/processes.actors", {}))["data"]
        return {port_of(each["instance"]): each for each in told}

    rows = await eventually(all_is_well_and_all_are_heard_of)
    assert len(rows) == len(cluster.processes) == 8
    assert {port_of(row) for row in rows} == ports

    found = await trees()
    assert found.keys() == ports
    assert [port for port, tree in found.items() if tree["answering"]] == [port_of(api.url)]
    assert all(tree["actors"] for tree in found.values())
    assert "airy/webhook-publisher/publisher" in {each["path"] for each in found[port_of(stopped.url)]["actors"]}

    first.kill()
    await eventually(first_is_silent)
    killed = (await trees())[port_of(first.url)]
    assert killed["stale"]
    assert "airy/webhook-consumer/dispatcher" in {each["path"] for each in killed["actors"]}
    await eventually(consumer_is_healthy)  # the other consumer
    last.kill()
    await eventually(consumer_is_not)

    async def that_is_told() -> bool:
        code, text = await status(cluster, api.url)
        assert code == 75
        return text.count("stale for ") >= 2 and "no ready process runs webhook-consumer" in text

    await eventually(that_is_told)

    assert await run_sync(stopped.stop) == 0

    async def stopped_is_gone() -> bool:
        return port_of(stopped.url) not in await listed()

    await eventually(stopped_is_gone)


def port_of(address: str) -> str:
    return address.rpartition(":")[2]


async def status(cluster: Cluster, url: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "airy", "status", "--url", url, "--token", TOKEN]
    done = await anyio.run_process(command, cwd=cluster.directory, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


async def eventually(look: Any) -> Any:
    with anyio.fail_after(WITHIN_S):
        while not (found := await look()):
            await anyio.sleep(0.05)
    return found
