"""What does a record cost on the Kafka bus, against the bare client?

One real broker on loopback (fetched, once, as `make kafka` does), one process, uvloop. The baseline is aiokafka as its
manual shows it: `send` for each record of a batch of 100, their futures gathered, and `getmany` of 500; idempotent, all
acknowledged, nothing compressed, the same records to the same partitions. Ours publishes the same batches and fetches
500. Cases take turns; CPU time of this process alone, median round. Single records, many at once, are what an edge
under load does.

With `--compression` it asks instead what each codec costs this process and saves on disk: messages of a real
conversation's shape, as the router makes them of webhooks, in the same batches and singly. The baseline is `none`.

    python benchmarks/bench_kafka.py [--records 20000] [--rounds 5] [--compression] [--json]
"""

import argparse
import asyncio
import json
import random
import secrets
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anyio
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from airy.bus import ProducerRecord, Topic
from airy.bus.kafka import KafkaBus, KafkaSettings
from airy.bus.kafka.settings import Compression
from benchmarks.bench_units import facts, raw
from tests.kit.bus import running
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.kafka_settings import STEADY_JVM

TOPIC: Topic[Any] = Topic("facts", bytes, partitions=16, retention="kept")
BATCH, FETCH, AT_ONCE = 100, 500, 64
GOAL = 1.5

CODECS: tuple[Compression, ...] = ("none", "gzip", "snappy", "lz4", "zstd")
WORDS = [
    *("hello", "is", "the", "rye", "bread", "back", "yes", "we", "have", "fresh", "loaves", "from", "six", "in", "my"),
    *("then", "morning", "thanks", "could", "you", "keep", "two", "for", "me", "until", "noon", "sure", "what", "name"),
    *("please", "it", "under", "see", "order", "arrived", "late", "box", "was", "open", "can", "i", "get", "refund"),
]

Took = dict[str, float]  # CPU seconds by step


def make_records(count: int, seed: int) -> list[ProducerRecord]:
    source = random.Random(seed)
    headers = (("id", b"0" * 36),)
    return [
        TOPIC.record(f"{source.getrandbits(128):032x}", source.randbytes(600), headers=headers) for _ in range(count)
    ]


@asynccontextmanager
async def place(bootstrap: list[str]) -> Any:
    name = f"bench-{secrets.token_hex(4)}"
    settings = KafkaSettings(bootstrap=tuple(bootstrap), namespace=name, compression="none")
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(settings.wire_name(TOPIC.name), TOPIC.partitions, 1)])
    try:
        yield settings
        await admin.delete_topics([settings.wire_name(TOPIC.name)])
    finally:
        await admin.close()


async def bare(settings: KafkaSettings, outgoing: Sequence[ProducerRecord]) -> Took:
    name = settings.wire_name(TOPIC.name)
    producer = AIOKafkaProducer(
        bootstrap_servers=list(settings.bootstrap), acks="all", enable_idempotence=True, max_batch_size=262_144
    )
    consumer = AIOKafkaConsumer(
        bootstrap_servers=list(settings.bootstrap), enable_auto_commit=False, auto_offset_reset="none"
    )
    await producer.start()
    await consumer.start()

    async def send(some: Sequence[ProducerRecord]) -> None:
        await asyncio.gather(
            *[
                await producer.send(
                    name, e.value, e.key, partition=e.partition, timestamp_ms=e.timestamp_ms, headers=[*e.headers]
                )
                for e in some
            ]
        )

    try:
        await send(outgoing[:1])
        took = {
            "produce": await _clocked(_in_batches(send, outgoing)),
            "produce, singly": await _clocked(_singly(send, outgoing)),
        }
        partitions = [TopicPartition(name, number) for number in range(TOPIC.partitions)]
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)

        async def consume() -> None:
            seen = 0
            while seen < len(outgoing):
                found = await consumer.getmany(timeout_ms=1_000, max_records=FETCH)
                seen += sum(map(len, found.values()))

        return took | {"consume": await _clocked(consume())}
    finally:
        await producer.stop()
        await consumer.stop()


async def ours(
    settings: KafkaSettings, outgoing: Sequence[ProducerRecord], written: Callable[[], int] = lambda: 0
) -> Took:
    """With `written`, also how many bytes more that says after each way to produce."""
    async with running(KafkaBus([TOPIC], settings)) as bus:
        await bus.publish(outgoing[:1])
        at_first = written()
        took = {"produce": await _clocked(_in_batches(bus.publish, outgoing))}
        in_batches = written()
        took["produce, singly"] = await _clocked(_singly(bus.publish, outgoing))
        took |= {"bytes": in_batches - at_first, "bytes, singly": written() - in_batches}

        async def consume() -> None:
            seen = 0
            async with bus.tail(dict.fromkeys(TOPIC.topic_partitions, 0)) as tail:
                while seen < len(outgoing):
                    seen += len(await tail.fetch(records_max=FETCH, wait_s=1))

        return took | {"consume": await _clocked(consume())}


def make_messages(count: int, seed: int) -> list[ProducerRecord]:
    """What a router makes of webhooks of one message each, with realistic text and random ids."""
    source, found = random.Random(seed), []
    for record in raw(count, count // 20 or 1, seed):
        value = msgspec.json.decode(record.value or b"")
        value["entry"][0]["messaging"][0]["message"]["text"] = " ".join(source.choices(WORDS, k=20))
        found.append(msgspec.structs.replace(record, value=msgspec.json.encode(value)))
    return [
        TOPIC.record(one_record.key.decode(), one_record.value or b"", headers=one_record.headers)
        for one_record in facts(found)
    ]


def compressions(kafka: KafkaCluster, outgoing: Sequence[ProducerRecord], rounds: int) -> list[dict[str, Any]]:
    found: dict[str, dict[str, list[float]]] = {codec: {} for codec in CODECS}

    async def one(codec: Compression) -> Took:
        async with place(kafka.bootstrap) as settings:
            topic = settings.wire_name(TOPIC.name)

            def written() -> int:
                return sum(file.stat().st_size for file in kafka.folder.glob(f"node-*/{topic}-*/*.log"))

            return await ours(msgspec.structs.replace(settings, compression=codec), outgoing, written)

    for _ in range(rounds):
        for codec in CODECS:
            for what, much in anyio.run(one, codec, backend_options={"use_uvloop": True}).items():
                found[codec].setdefault(what, []).append(much)
    return [
        {
            "compression": codec,
            **{
                what: round(statistics.median(much) / len(outgoing) * (1 if "bytes" in what else 1e6), 1)
                for what, much in of.items()
            },
            "times": round(statistics.median(of["bytes"]) / statistics.median(found["none"]["bytes"]), 2),
        }
        for codec, of in found.items()
    ]


def tell_compressions(results: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"question": "kafka compression", "baseline": "none", "results": results}))
        return
    columns = ("produce", "produce, singly", "consume", "bytes", "bytes, singly", "times")
    print("per record: us of CPU, and bytes on disk; the times are those of the bytes in batches")
    print("".join([f"{'':<8}", *(f"{name:>17}" for name in columns)]))
    for row in results:
        print("".join([f"{row['compression']:<8}", *(f"{row[name]:>17}" for name in columns)]))


async def _in_batches(
    send: Callable[[Sequence[ProducerRecord]], Awaitable[object]], outgoing: Sequence[ProducerRecord]
) -> None:
    for begin in range(0, len(outgoing), BATCH):
        await send(outgoing[begin : begin + BATCH])


async def _singly(
    send: Callable[[Sequence[ProducerRecord]], Awaitable[object]], outgoing: Sequence[ProducerRecord]
) -> None:
    """One record per call, with many calls in flight."""
    waiting = iter(outgoing)

    async def caller() -> None:
        for one_record in waiting:
            await send([one_record])

    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(caller)


async def _clocked(work: Awaitable[None]) -> float:
    begin = time.process_time()
    await work
    return time.process_time() - begin


def measure(bootstrap: list[str], outgoing: Sequence[ProducerRecord], rounds: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, list[float]]] = {"aiokafka": {}, "Kafka bus": {}}

    async def one(case: Callable[[KafkaSettings, Sequence[ProducerRecord]], Awaitable[Took]]) -> Took:
        async with place(bootstrap) as settings:
            return await case(settings, outgoing)

    for _ in range(rounds):
        for name, case in (("aiokafka", bare), ("Kafka bus", ours)):
            took = anyio.run(one, case, backend_options={"use_uvloop": True})
            for what, seconds in took.items():
                if what.startswith("bytes"):
                    continue
                found[name].setdefault(what, []).append(seconds)
    return {
        name: {what: statistics.median(seconds) / len(outgoing) * 1e6 for what, seconds in whats.items()}
        for name, whats in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compression", action="store_true", help="compare codecs instead")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.compression:
        with KafkaCluster(jvm=STEADY_JVM) as kafka:
            results = compressions(kafka, make_messages(options.records, options.seed), options.rounds)
        tell_compressions(results, as_json=options.json)
        return
    outgoing = make_records(options.records, options.seed)
    with KafkaCluster(jvm=STEADY_JVM) as kafka:
        us = measure(kafka.bootstrap, outgoing, options.rounds)
    results = [
        {
            "case": what,
            "us": round(us["Kafka bus"][what], 2),
            "bare_us": round(base, 2),
            "times": round(us["Kafka bus"][what] / base, 2),
        }
        for what, base in us["aiokafka"].items()
    ]
    if options.json:
        print(json.dumps({"question": "kafka", "baseline": "aiokafka", "goal": GOAL, "results": results}))
        return
    print(f"{'per record':<18} {'bus us':>8} {'bare us':>8}  times (at most {GOAL})")
    for row in results:
        print(f"{row['case']:<18} {row['us']:>8} {row['bare_us']:>8}  {row['times']}")


if __name__ == "__main__":
    main()
