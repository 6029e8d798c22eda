"""Time to rebuild a wiped store from the log.

A real broker holds the messages; an empty store in a file reads them all, as `airy run` does after its store was
deleted. Baseline of the same run: the store alone applies the same records in the same batches without a log, so the
ratio is the cost of reading from Kafka. One process, uvloop, wall time.

    python benchmarks/bench_rebuild.py [--messages 100000] [--conversations 20000] [--json]
"""

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anyio
import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from airy import topics
from airy.actors.checkpointer import Checkpointer
from airy.actors.projector import Projector
from airy.actors.runtime import Context
from airy.bus.kafka import KafkaBus, KafkaSettings
from airy.bus.record import ProducerRecord, Record
from airy.clock import SystemClock
from airy.store.sqlite import SqliteStore
from benchmarks.bench_store import Traffic
from tests.kit.bus import running
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.kafka_settings import STEADY_JVM

BATCH = 1_000
MILLION = 1_000_000


@asynccontextmanager
async def log_of(bootstrap: list[str], records: list[Record]) -> AsyncIterator[KafkaBus]:
    settings = KafkaSettings(bootstrap=tuple(bootstrap), namespace=f"bench-{secrets.token_hex(4)}")
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    kept = {"retention.ms": "-1"}  # the timestamps of the records are old
    await admin.create_topics(
        [NewTopic(settings.wire_name(topic.name), topic.partitions, 1, topic_configs=kept) for topic in topics.FOLDED]
    )
    await admin.close()
    async with running(KafkaBus(topics.ALL, settings)) as bus:
        for begin in range(0, len(records), BATCH):
            chunk = records[begin : begin + BATCH]
            await bus.publish(
                [ProducerRecord(r.topic, r.partition, r.key, r.value, r.headers, r.timestamp_ms) for r in chunk]
            )
        yield bus


async def rebuilt(bus: KafkaBus, directory: Path) -> tuple[float, str]:
    """The duration in seconds, and the digest of the rebuilt store."""
    store = SqliteStore(directory / "rebuilt.db")
    await store.open()
    projector = Projector(bus, store)
    caught_up = anyio.Event()
    context = Context("store", clock=SystemClock(), random=Random(0), on_ready=caught_up.set)
    begin = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(projector.run, context)
        tasks.start_soon(Checkpointer(store).run, Context("checkpointer", clock=SystemClock(), random=Random(0)))
        await caught_up.wait()
        took = time.perf_counter() - begin
        tasks.cancel_scope.cancel()
    digest = await store.digest()
    await store.close()
    return took, digest


async def folded(records: list[Record], directory: Path, batch: int) -> tuple[float, str]:
    store = SqliteStore(directory / "folded.db")
    await store.open()
    context = Context("checkpointer", clock=SystemClock(), random=Random(0))
    begin = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Checkpointer(store).run, context)
        for start in range(0, len(records), batch):
            await store.apply(records[start : start + batch])
            await anyio.lowlevel.checkpoint()  # apply does not yield: the checkpointer would never run
        took = time.perf_counter() - begin
        tasks.cancel_scope.cancel()
    digest = await store.digest()
    await store.close()
    return took, digest


async def measure(bootstrap: list[str], messages: int, conversations: int, seed: int) -> dict[str, float]:
    traffic = Traffic(seed, conversations)
    records = [*traffic.channels(), *traffic.batch(messages)]
    with tempfile.TemporaryDirectory(prefix="airy-bench-") as name:
        async with log_of(bootstrap, records) as bus:
            from_kafka_s, digest = await rebuilt(bus, Path(name))
        alone_s, expected = await folded(records, Path(name), 256)
    assert digest == expected, "the store rebuilt from Kafka differs from the store of the records"
    return {
        "messages": messages,
        "conversations": conversations,
        "from_kafka_per_s": messages / from_kafka_s,
        "store_alone_per_s": messages / alone_s,
        "times": from_kafka_s / alone_s,
        "million_s": from_kafka_s * MILLION / messages,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--conversations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    with KafkaCluster(jvm=STEADY_JVM) as kafka:
        found = anyio.run(
            measure,
            kafka.bootstrap,
            options.messages,
            options.conversations,
            options.seed,
            backend_options={"use_uvloop": True},
        )
    if options.json:
        print(json.dumps({"question": "rebuild", "baseline": "the store alone", **found}))
        return
    print(f"from Kafka        {found['from_kafka_per_s']:10,.0f} messages/s")
    print(f"the store alone   {found['store_alone_per_s']:10,.0f} messages/s   ({found['times']:.2f} times the time)")
    print(f"10^6 messages     {found['million_s']:10,.0f} s, extrapolated")


if __name__ == "__main__":
    main()
