"""A full batch of Meta, 1,000 updates in 5 MB, through real HTTP into the log and out of the API."""

import hmac
import json
import time
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from airy.sim.graph import DEMO_PAGE
from tests.kit.cluster import Cluster
from tests.kit.process import AiryApi, AiryProcess, call_retrying, connect, http_session, messenger
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.redis import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.parametrize("anyio_backend", ["asyncio"])]

UPDATES = 1_000
CONTACTS = 10
TEXT_CHARS = 4_900
WITHIN_S = 240.0  # bounds a hang


def full_batch() -> bytes:
    now_ms = time.time_ns() // 1_000_000
    entries = [
        {
            "id": DEMO_PAGE.id,
            "time": now_ms,
            "messaging": [
                {
                    "sender": {"id": str(6_120_000_000_000_000 + number % CONTACTS)},
                    "recipient": {"id": DEMO_PAGE.id},
                    "timestamp": now_ms + number,
                    "message": {"mid": f"m_{number}", "text": f"{number} ".ljust(TEXT_CHARS, "x")},
                }
            ],
        }
        for number in range(UPDATES)
    ]
    return json.dumps({"object": "page", "entry": entries}).encode()


async def deliver(session: aiohttp.ClientSession, url: str, body: bytes) -> None:
    """As Meta does: again after a 503, the answer while the log is slow for a moment. The batch is stored once."""
    signature = hmac.new(b"app-secret", body, "sha256").hexdigest()
    headers = {"x-hub-signature-256": f"sha256={signature}", "content-type": "application/json"}
    with anyio.fail_after(WITHIN_S):
        while True:
            async with session.post(f"{url}/facebook", data=BytesIO(body), headers=headers) as answer:
                status = answer.status
            if status == 200:
                return
            assert status == 503
            await anyio.sleep(1.0)  # real time: waits for another process


async def listed_messages(airy: AiryApi, session: aiohttp.ClientSession) -> list[list[int]]:
    """The numbers of the messages of each conversation, oldest first, once all arrived."""
    with anyio.fail_after(WITHIN_S):
        while True:
            found = (await call_retrying(airy, session, "/conversations.list", {"page_size": 50}))["data"]
            pages = [await messages(airy, session, conversation["id"]) for conversation in found]
            if sum(map(len, pages)) >= UPDATES:
                return pages
            await anyio.sleep(0.5)  # real time: waits for another process


async def messages(airy: AiryApi, session: aiohttp.ClientSession, conversation_id: str) -> list[int]:
    found: list[int] = []
    cursor: str | None = None
    while True:
        body: dict[str, Any] = {"conversation_id": conversation_id, "page_size": 50, "cursor": cursor}
        page = await call_retrying(airy, session, "/messages.list", body)
        found += [int(each["content"]["message"]["text"].split()[0]) for each in page["data"]]
        cursor = page["pagination_data"]["next_cursor"]
        if cursor is None:
            return found[::-1]


def assert_complete(pages: list[list[int]]) -> None:
    assert sorted(pages) == [list(range(contact, UPDATES, CONTACTS)) for contact in range(CONTACTS)]


@pytest.mark.parametrize("options", [(), ("--ephemeral",)], ids=["journal", "memory"])
async def test_one_process_takes_a_full_batch(tmp_path: Path, options: tuple[str, ...]) -> None:
    body = full_batch()
    assert 5_000_000 < len(body) < 6_000_000
    async with messenger() as (_, graph_url), http_session() as session:
        with closing(AiryProcess(tmp_path, graph_url)) as airy:
            airy.start(*options)
            await airy.ready(session)
            await connect(airy, session)

            await deliver(session, airy.url, body)

            assert_complete(await listed_messages(airy, session))
            assert airy.stop() == 0


@pytest.mark.cluster
async def test_a_cluster_takes_a_full_batch(tmp_path: Path, kafka: KafkaCluster, redis_server: RedisServer) -> None:
    async with messenger() as (_, graph_url), http_session() as session:
        cluster = Cluster(tmp_path, kafka=kafka.bootstrap, redis=redis_server.url, graph_url=graph_url, replicas=1)
        async with cluster.up():
            await connect(cluster, session)

            await deliver(session, cluster.urls("sources-facebook")[0], full_batch())

            assert_complete(await listed_messages(cluster, session))
