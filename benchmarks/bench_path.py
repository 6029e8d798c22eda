"""What does a message cost on its whole way, and how long does it take?

A real `airy up` in its own process takes signed webhooks over loopback, folds and stores them, and delivers each to
a subscriber's endpoint in this process. Measured: accepted webhooks per second, CPU of the Airy process per message,
and at half of that load the time from the request to the endpoint. The baseline of the same run is the same process
without a disk (`--ephemeral`): the ratio is what durability costs. With `--kafka` also on a real broker and a real
Redis, everything in one process of Airy. Seeded.
"""

import argparse
import asyncio
import hmac
import json
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aiohttp
import msgspec

from airy.model import ids
from airy.sim.graph import DEMO_PAGE
from tests.kit.process import AiryProcess, Subscriber, connect, messenger
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.kafka_settings import STEADY_JVM
from tests.kit.servers.redis import RedisServer

EPHEMERAL, DURABLE, KAFKA = "ephemeral", "durable", "kafka"
LOOK_S = 0.01  # between looks whether it is visible: without a pause they are most of what the process does
TICKS = os.sysconf("SC_CLK_TCK")


def webhook(number: int, people: int, random: Random) -> tuple[str, bytes, str]:
    mid = f"m_{number}"
    element = {
        "sender": {"id": f"6120000{random.randrange(people):09}"},
        "recipient": {"id": DEMO_PAGE.id},
        "timestamp": 1_767_225_600_000 + number,
        "message": {"mid": mid, "text": "is the rye bread back? " * 4},
    }
    body = msgspec.json.encode({"object": "page", "entry": [{"id": DEMO_PAGE.id, "time": 1, "messaging": [element]}]})
    return mid, body, "sha256=" + hmac.new(b"app-secret", body, sha256).hexdigest()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def measure(*, messages: int, people: int, place: str, seed: int) -> dict[str, float]:
    random = Random(seed)
    posts = [webhook(number, people, random) for number in range(messages)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ExitStack() as held:
        directory = held.enter_context(tempfile.TemporaryDirectory(prefix="airy-bench-"))
        options = ["--ephemeral"] if place == EPHEMERAL else []
        if place == KAFKA:
            kafka, redis = held.enter_context(KafkaCluster(jvm=STEADY_JVM)), held.enter_context(RedisServer())
            options = ["--kafka", kafka.bootstrap[0], "--redis", redis.url]
        async with messenger() as (_, graph), Subscriber().serving() as subscriber:
            airy = AiryProcess(Path(directory), graph, port)
            if place == KAFKA:
                airy.run("topics apply", "--kafka", kafka.bootstrap[0], "--yes")
            airy.start(*options)
            connector = aiohttp.TCPConnector(limit=64)
            async with aiohttp.ClientSession(connector=connector) as session:
                try:
                    await airy.ready(session)
                    channel_id = await connect(airy, session)
                    hook = {"url": subscriber.url, "events": ["message.created"]}
                    await airy.call(session, "/webhooks.subscribe", hook)
                    full = await _full_load(airy, session, subscriber, posts[: messages // 2])
                    paced = await _paced(
                        airy, session, subscriber, posts[messages // 2 :], full["accepted_per_s"] / 2, channel_id
                    )
                finally:
                    airy.stop()
    return full | paced


async def _full_load(
    airy: AiryProcess, session: aiohttp.ClientSession, subscriber: Subscriber, posts: list
) -> dict[str, float]:
    queue = iter(posts)
    before, began = cpu_s(airy.pid), time.perf_counter()

    async def poster() -> None:
        for _, body, signature in queue:
            await _post(airy, session, body, signature)

    await asyncio.gather(*(poster() for _ in range(32)))
    accepted_s = time.perf_counter() - began
    while len(subscriber.received) < len(posts):
        await asyncio.sleep(0.02)
    return {
        "accepted_per_s": len(posts) / accepted_s,
        "delivered_per_s": len(posts) / (time.perf_counter() - began),
        "cpu_us_per_message": (cpu_s(airy.pid) - before) / len(posts) * 1e6,
    }


async def _paced(
    airy: AiryProcess,
    session: aiohttp.ClientSession,
    subscriber: Subscriber,
    posts: list,
    per_s: float,
    channel_id: str,
) -> dict[str, float]:
    """At `per_s`: from the request to the endpoint, and to the API."""
    sent: dict[str, float] = {}
    subscriber.arrived.clear()
    answered: list[float] = []
    visible: list[float] = []

    async def one(mid: str, body: bytes, signature: str, look: bool) -> None:
        message_id = ids.message_id(channel_id, mid)
        sent[message_id] = began = time.perf_counter()
        await _post(airy, session, body, signature)
        answered.append(time.perf_counter() - began)
        if look:
            conversation_id = ids.conversation_id(
                channel_id, json.loads(body)["entry"][0]["messaging"][0]["sender"]["id"]
            )
            while True:
                await asyncio.sleep(LOOK_S)
                try:
                    page = await airy.call(
                        session, "/messages.list", {"conversation_id": conversation_id, "page_size": 5}
                    )
                except aiohttp.ClientResponseError:
                    continue
                if any(message["id"] == message_id for message in page["data"]):
                    visible.append(time.perf_counter() - began)
                    return

    pending = []
    began = time.perf_counter()
    for number, (mid, body, signature) in enumerate(posts):
        await asyncio.sleep(max(0.0, began + number / per_s - time.perf_counter()))
        pending.append(asyncio.ensure_future(one(mid, body, signature, number % 50 == 0)))
    await asyncio.gather(*pending)
    while not sent.keys() <= subscriber.arrived.keys():
        await asyncio.sleep(0.02)
    delivered = [subscriber.arrived[message_id] - at for message_id, at in sent.items()]
    return {
        **_spread("answer", answered),
        **_spread("visible", visible),
        **_spread("webhook", delivered),
        "paced_per_s": per_s,
    }


async def _post(airy: AiryProcess, session: aiohttp.ClientSession, body: bytes, signature: str) -> None:
    headers = {"content-type": "application/json", "x-hub-signature-256": signature}
    async with session.post(f"{airy.url}/facebook", data=body, headers=headers) as answer:
        assert answer.status == 200, answer.status


def _spread(name: str, seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return {f"{name}_p50_ms": cuts[49] * 1000, f"{name}_p99_ms": cuts[98] * 1000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=8_000)
    parser.add_argument("--people", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kafka", action="store_true", help="also on Kafka and Redis, which need Java and Maven")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    places = [EPHEMERAL, DURABLE, *([KAFKA] if options.kafka else [])]
    results = {
        place: asyncio.run(measure(messages=options.messages, people=options.people, place=place, seed=options.seed))
        for place in places
    }
    ratios = {
        place: {key: results[place][key] / results[EPHEMERAL][key] for key in results[place]} for place in places[1:]
    }
    if options.json:
        print(
            json.dumps({"python": platform.python_version(), "messages": options.messages, **results, "ratio": ratios})
        )
        return
    print(f"{'':24}" + "".join(f"{place:>12}" for place in places) + "".join(f"{place + ' x':>14}" for place in ratios))
    for key in results[EPHEMERAL]:
        values = "".join(f"{results[place][key]:12,.1f}" for place in places)
        print(f"{key:24}{values}" + "".join(f"{ratio[key]:14.2f}" for ratio in ratios.values()))


if __name__ == "__main__":
    main()
