"""Cost of folding and storing one inbound message.

One process, batches of 100 records, each to a random conversation of 10⁵ (with `--large` also 10⁶), in a file.
Baseline: apsw inserts one row of the same size under a random unique id into a table of the same length, with the same
pragmas and batches. Checkpoints run between the measured rounds and are reported separately.
"""

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import anyio
import apsw
import msgspec
from msgspec import Raw

from airy import topics
from airy.bus.record import ProducerRecord, Record
from airy.model import ids
from airy.model.entity import Channel
from airy.model.fact import MessageReceived
from airy.store.sqlite import SqliteStore

BATCH = 100
CHANNELS = 20
TEXT = "Is the rye bread back, and until when are you open today? " * 2
CONTENT = {"message": {"mid": "m_" + "x" * 60, "text": TEXT}}
PRAGMAS = {"journal_mode": "wal", "synchronous": "normal", "wal_autocheckpoint": 0, "cache_size": -16_384}


class Traffic:
    """Generates the records of one log; every message is new."""

    def __init__(self, seed: int, conversations: int) -> None:
        self._random = Random(seed)
        self._offsets: dict[tuple[str, int], int] = {}
        self._channels = [
            Channel(id=ids.channel_id("facebook", name), source="facebook", source_channel_id=name, connected=True)
            for name in (f"p{number}" for number in range(CHANNELS))
        ]
        self.people = [
            (channel.id, f"u{n}", ids.conversation_id(channel.id, f"u{n}"))
            for n in range(conversations)
            for channel in (self._channels[n % CHANNELS],)
        ]
        self._sent = 0
        self._content = Raw(msgspec.json.encode(CONTENT))

    def channels(self) -> list[Record]:
        return [self.record(topics.CHANNELS.record(channel.id, channel)) for channel in self._channels]

    def one_each(self) -> Iterator[Record]:
        return (self._message(*person) for person in self.people)

    def batch(self, size: int) -> list[Record]:
        return [self._message(*self._random.choice(self.people)) for _ in range(size)]

    def _message(self, channel_id: str, contact: str, conversation_id: str) -> Record:
        self._sent += 1
        provider_id = f"m_{self._sent}_{'y' * 40}"
        fact = MessageReceived(
            id=ids.derive(channel_id, f"fact{self._sent}"),
            conversation_id=conversation_id,
            channel_id=channel_id,
            source="facebook",
            at_ms=1_767_225_600_000 + self._sent,
            cause="request-1",
            content=self._content,
            message_id=ids.message_id(channel_id, provider_id),
            participant_id=contact,
            provider_id=provider_id,
        )
        return self.record(topics.EVENTS.record(conversation_id, fact))

    def record(self, record: ProducerRecord) -> Record:
        offset = self._offsets.get((record.topic, record.partition), 0)
        self._offsets[record.topic, record.partition] = offset + 1
        return Record(record.topic, record.partition, offset, record.key, record.value, record.headers, 0)


def chunks(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    for record in records:
        chunk.append(record)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def filled(path: Path, traffic: Traffic) -> SqliteStore:
    """A checkpointed store with one message per conversation and its changes pruned."""
    store = SqliteStore(path)
    await store.open()
    await store.apply(traffic.channels())
    for number, chunk in enumerate(chunks(traffic.one_each(), 2000)):
        await store.apply(chunk)
        if number % 10 == 9:
            await store.checkpoint()
    await store.prune_changes(await store.positions())
    await store.checkpoint()
    return store


async def fold_and_store(directory: Path, seed: int, conversations: int, rounds: int, batches: int) -> dict[str, float]:
    traffic = Traffic(seed, conversations)
    store = await filled(directory / "store.db", traffic)
    await timed_batches(store, [traffic.batch(BATCH) for _ in range(batches)])  # warm up the caches
    wall, cpu, checkpoints = [], [], []
    for _ in range(rounds):
        work = [traffic.batch(BATCH) for _ in range(batches)]
        round_wall, round_cpu = await timed_batches(store, work)
        wall.append(round_wall / (batches * BATCH))
        cpu.append(round_cpu / (batches * BATCH))
        before = time.perf_counter()
        await store.checkpoint()
        checkpoints.append((time.perf_counter() - before) / (batches * BATCH))
    size = (directory / "store.db").stat().st_size
    await store.close()
    return {
        "us_per_message": statistics.median(wall) * 1e6,
        "cpu_us_per_message": statistics.median(cpu) * 1e6,
        "checkpoint_us_per_message": statistics.median(checkpoints) * 1e6,
        "file_mb": size / 1e6,
    }


async def timed_batches(store: SqliteStore, work: Sequence[Sequence[Record]]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    for batch in work:
        await store.apply(batch)
    return time.perf_counter() - wall, time.process_time() - cpu


def bare_inserts(directory: Path, seed: int, rows: int, row_bytes: int, rounds: int, batches: int) -> dict[str, float]:
    random = Random(seed)
    connection = apsw.Connection(str(directory / "bare.db"))
    for name, value in PRAGMAS.items():
        connection.pragma(name, value)
    connection.execute("CREATE TABLE rows(n INTEGER PRIMARY KEY, id BLOB UNIQUE, body BLOB)")
    body = b"b" * row_bytes

    def insert(count: int) -> None:
        made = [(random.randbytes(16), body) for _ in range(count)]
        with connection:
            connection.executemany("INSERT INTO rows(id, body) VALUES(?, ?)", made)

    for _ in range(rows // 2000):
        insert(2000)
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    wall = []
    for _ in range(rounds):
        before = time.perf_counter()
        for _ in range(batches):
            insert(BATCH)
        wall.append((time.perf_counter() - before) / (batches * BATCH))
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()
    return {"us_per_row": statistics.median(wall) * 1e6}


def row_bytes_of(directory: Path) -> int:
    """Bytes that one message adds: its body and the bodies of its changes, as stored."""
    connection = apsw.Connection(str(directory / "store.db"))
    newest = "SELECT body FROM messages ORDER BY n DESC LIMIT 1000"
    message = connection.execute(f"SELECT avg(length(body)) FROM ({newest})").get
    changes = connection.execute("SELECT sum(length(body)) * 1.0 / sum(total) * 3 FROM changes").get
    connection.close()
    return round(message + changes)


def measure(seed: int, conversations: int, rounds: int, batches: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        store = anyio.run(fold_and_store, directory, seed, conversations, rounds, batches)
        row_bytes = row_bytes_of(directory)
        bare = bare_inserts(directory, seed, conversations, row_bytes, rounds, batches)
    return {
        "conversations": conversations,
        "row_bytes": row_bytes,
        **store,
        **bare,
        "ratio": store["us_per_message"] / bare["us_per_row"],
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--large", action="store_true", help="10⁶ conversations too: minutes, and a few GB of disk")
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--batches", type=int, default=10, help="between two checkpoints")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sizes = [options.conversations, *([1_000_000] if options.large else [])]
    results = [measure(options.seed, size, options.rounds, options.batches) for size in sizes]
    if options.json:
        print(json.dumps({"bench": "store", "batch": BATCH, "cores": os.cpu_count(), "results": results}))
        return
    print(f"fold + store one inbound message, batches of {BATCH}; baseline: apsw, one insert of the same bytes")
    heads = (("conversations", 14), ("us", 8), ("cpu us", 8), ("bare us", 9), ("ratio", 7), ("bytes", 7))
    print("".join(f"{head:>{width}}" for head, width in (*heads, ("checkpoint us", 15), ("peak MB", 9))))
    for row in results:
        print(
            f"{row['conversations']:>14.0f}{row['us_per_message']:>8.1f}{row['cpu_us_per_message']:>8.1f}"
            f"{row['us_per_row']:>9.1f}{row['ratio']:>7.1f}{row['row_bytes']:>7.0f}"
            f"{row['checkpoint_us_per_message']:>15.1f}{row['peak_memory_mb']:>9.0f}"
        )


if __name__ == "__main__":
    main()
