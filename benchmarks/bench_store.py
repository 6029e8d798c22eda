"""What does it cost to fold and store one inbound message?

One process, batches of 100 records, each to a conversation picked at random among 10⁵ (with `--large` also 10⁶), on a
file. Baseline: apsw inserting one row of the same bytes under a random unique id, into a table as long, with the same
pragmas and batches. Checkpoints run between the measured rounds, as their actor would, and are printed on their own.
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
from airy.bus.record import Emit, Record
from airy.model import ids
from airy.model.entity import Channel
from airy.model.fact import MessageReceived
from airy.store import SqliteStore

BATCH = 100
CHANNELS = 20
TEXT = "Is the rye bread back, and until when are you open today? " * 2
CONTENT = {"message": {"mid": "m_" + "x" * 60, "text": TEXT}}
PRAGMAS = {"journal_mode": "wal", "synchronous": "normal", "wal_autocheckpoint": 0, "cache_size": -16_384}


class Traffic:
    """Records of one log; every message is new."""

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
        return [self.record(topics.CHANNELS.emit(channel.id, channel)) for channel in self._channels]

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
        return self.record(topics.EVENTS.emit(conversation_id, fact))

    def record(self, emit: Emit) -> Record:
        offset = self._offsets.get((emit.topic, emit.partition), 0)
        self._offsets[emit.topic, emit.partition] = offset + 1
        return Record(emit.topic, emit.partition, offset, emit.key, emit.value, emit.headers, 0)


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
    """A store with one message in every conversation, its changes forgotten, checkpointed."""
    store = SqliteStore(path)
    await store.open()
    await store.apply(traffic.channels())
    for number, chunk in enumerate(chunks(traffic.one_each(), 2000)):
        await store.apply(chunk)
        if number % 10 == 9:
            await store.checkpoint()
    await store.forget_changes(await store.positions())
    await store.checkpoint()
    return store


async def fold_and_store(directory: Path, seed: int, conversations: int, rounds: int, batches: int) -> dict[str, float]:
    traffic = Traffic(seed, conversations)
    store = await filled(directory / "store.db", traffic)
    await timed_batches(store, [traffic.batch(BATCH) for _ in range(batches)])  # caches as they are in service
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
    """What one message adds: its body and the bodies of its changes, as the store wrote them."""
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
    asked = parser.parse_args()
    sizes = [asked.conversations, *([1_000_000] if asked.large else [])]
    results = [measure(asked.seed, size, asked.rounds, asked.batches) for size in sizes]
    if asked.json:
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
