"""What does one more channel, webhook, waiting delivery or busy conversation cost? `docs/scaling.md` uses the figures.

Sizes of a message in the log (key, value and headers, uncompressed); processor time to route one raw webhook, to
match a change with webhooks, to fold and store a message of one conversation alone against the same of many (the
baseline), and the memory of a real Redis per waiting delivery.
Seeded, one process; the fastest of some rounds, because disturbances only add time.

    python -m benchmarks.bench_units [--messages 3000] [--rounds 3] [--json]
"""

import argparse
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import anyio
import msgspec
import structlog
from redis.asyncio import Redis

from airy import topics
from airy.actors.router import facts_of
from airy.bus.record import Position, ProducerRecord, Record
from airy.model.change import Change, ChangeKind
from airy.model.entity import Channel, Webhook
from airy.model.fold import fold
from airy.queue.api import NO_ENTRY, QueueEntry, Shard
from airy.queue.redis import RedisQueue
from airy.secret import Secret
from airy.sources.accounts import ConnectedChannels
from airy.sources.facebook.source import Facebook
from airy.sources.facebook.spec import FacebookSection
from airy.store.api import StoredChange
from airy.store.sqlite import SqliteStore
from airy.webhooks.matching import Matcher
from tests.kit import builders
from tests.kit.fold import LiveState
from tests.kit.servers.redis import RedisServer

PAGE = "204918377001"
CHARACTERS = 100  # of text
BATCH = 100
FREE = "freelist_count", "page_size"
SHARES = (1, 10)  # webhooks a change goes to
SOURCE = Facebook(FacebookSection(app_id="1", app_secret=(Secret("secret"),), webhook_secret=Secret("v")))

Found = dict[str, float]


def cpu_us(run: Callable[[], object], units: int, rounds: int) -> float:
    took = []
    for _ in range(rounds):
        begin = time.process_time()
        run()
        took.append((time.process_time() - begin) / units * 1e6)
    return min(took)


def page(number: int) -> Channel:
    return builders.channel(source_channel_id=f"{int(PAGE) + number}")


def raw(messages: int, people: int, seed: int) -> list[Record]:
    """Webhooks of one message each, as Messenger posts them."""
    random, topic, found = Random(seed), topics.source_events(SOURCE.spec.name), []
    for number in range(messages):
        message = {"mid": f"m_{random.getrandbits(512):x}", "text": "".join(random.choices("abcdefgh ", k=CHARACTERS))}
        event = {
            "sender": {"id": f"{6_120_000_000_000_000 + random.randrange(people)}"},
            "recipient": {"id": PAGE},
            "timestamp": 1_767_225_600_000 + number,
            "message": message,
        }
        entry = {"id": PAGE, "time": 1_767_225_600_000 + number, "messaging": [event]}
        body = msgspec.json.encode({"object": "page", "entry": [entry]})
        trace = ("traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01")
        record = topic.record(PAGE, body, headers=(("request-id", b"0" * 36), trace))
        found.append(Record(record.topic, record.partition, number, record.key, record.value, record.headers, 0))
    return found


def size(record: ProducerRecord | Record) -> int:
    return len(record.key) + len(record.value or b"") + sum(len(name) + len(value) for name, value in record.headers)


def facts(records: list[Record]) -> list[ProducerRecord]:
    channels = ConnectedChannels([page(0)])
    return [fact for record in records for fact in facts_of(SOURCE.route(record, channels), record)]


async def reading(store: SqliteStore) -> float:
    """CPU µs per change, as a publisher reads them."""
    count, begin = 0, time.process_time()
    for tp in topics.EVENTS.topic_partitions:
        after = (0, -1)
        while changes := await store.changes(tp, after=after, changes_max=500):
            count += len(changes)
            after = changes[-1].position.offset, changes[-1].nth
    return (time.process_time() - begin) / count * 1e6


async def stored(written: list[ProducerRecord], rounds: int) -> Found:
    """CPU µs and file bytes per message; a change is pruned as soon as it is stored."""
    best: Found = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="airy-bench-") as name:
            store = SqliteStore(Path(name) / "store.db")
            await store.open()
            offsets: dict[int, int] = {}
            records = []
            for record in [topics.CHANNELS.record(page(0).id, page(0)), *written]:
                tp = record.partition + 100 * (record.topic == topics.EVENTS.name)
                offset = offsets.get(tp, 0)
                offsets[tp] = offset + 1
                records.append(
                    Record(
                        record.topic,
                        record.partition,
                        offset,
                        record.key,
                        record.value,
                        record.headers,
                        0,
                    )
                )
            begin = time.process_time()
            for first in range(0, len(records), BATCH):
                await store.apply(records[first : first + BATCH])
            us = (time.process_time() - begin) / len(written) * 1e6
            read_us = await reading(store)
            await store.prune_changes(await store.positions())
            await store.checkpoint()
            await store.close()
            file = Path(name) / "store.db"
            full = file.stat().st_size / len(written)
            with sqlite3.connect(file) as connection:
                free, page_bytes = (connection.execute(f"PRAGMA {of}").fetchone()[0] for of in FREE)
            one = {"us": us, "read": read_us, "full": full, "bytes": full - free * page_bytes / len(written)}
        best = min(best or one, one, key=lambda each: each["us"])
    return best


def matching(webhooks: int, rounds: int) -> Found:
    hooks = [
        Webhook(
            id=f"hook-{number}",
            url="https://example.net",
            status="Subscribed",
            since={topics.EVENTS.name: (0,) * topics.EVENTS.partitions},
        )
        for number in range(webhooks)
    ]
    change = Change(id="c", kind=ChangeKind.MESSAGE_CREATED, lane="l", sequence=1, at_ms=0, body=b"{}")
    published = StoredChange(Position(topics.EVENTS.name, 0, 1), 0, change)
    matcher, encoded = Matcher(hooks), [msgspec.json.encode(hook) for hook in hooks]

    def look() -> None:
        for _ in range(1_000):
            matcher.recipients(published)

    def batch() -> None:
        Matcher([msgspec.json.decode(hook, type=Webhook) for hook in encoded])

    return {"change": cpu_us(look, 1_000 * webhooks, rounds), "batch": cpu_us(batch, webhooks, rounds)}


async def waiting(url: str, changes: int, share: int, body_bytes: int) -> float:
    """Bytes of Redis memory per waiting delivery, moved out of the stream as by the first claim."""
    client = Redis.from_url(url)
    await client.flushall()
    queue = RedisQueue(url)
    await queue.open()
    before = (await client.info("memory"))["used_memory"]
    shard, after = Shard(topics.EVENTS.name, 0), NO_ENTRY
    for first in range(0, changes, BATCH):
        entries = [
            QueueEntry(
                id=(number, 0),
                webhook_ids=tuple(f"{hook:036}" for hook in range(share)),
                lane=f"{number % 300:036}",
                event_id=f"{number:036}",
                kind="message.created",
                body=b"." * body_bytes,
                at_ms=number,
                position="0.0.1",
            )
            for number in range(first, min(first + BATCH, changes))
        ]
        await queue.put(shard, entries, after=after)
        after = entries[-1].id
    while await queue.claim(now_ms=changes, lease_ms=60_000, jobs_max=changes, per_webhook_max=changes):
        pass
    used = int((await client.info("memory"))["used_memory"]) - int(before)
    await queue.close()
    await client.aclose()
    return used / (changes * share)


def change_bodies(written: list[ProducerRecord]) -> dict[str, list[int]]:
    """Bytes of the changes of each kind."""
    states: dict[bytes, LiveState] = {}
    found: dict[str, list[int]] = {}
    for each in written:
        record = Record(each.topic, each.partition, 0, each.key, each.value, each.headers, 0)
        fact = topics.EVENTS.decode(record)
        assert fact is not None
        for change in fold(states.setdefault(record.key, LiveState()), fact).changes:
            found.setdefault(change.kind.value, []).append(len(change.body))
    return found


def measure(messages: int, rounds: int, seed: int) -> Found:
    many, one = raw(messages, max(1, messages // 10), seed), raw(messages, 1, seed)
    written = facts(many)
    bodies = change_bodies(written)
    spread, alone = (anyio.run(stored, some, rounds) for some in (written, facts(one)))
    body_bytes = round(sum(bodies["message.created"]) / messages)
    found: Found = {
        "raw webhook in the log, bytes": sum(map(size, many)) / messages,
        "its fact in the log, bytes": sum(map(size, written)) / messages,
        "message.created to a subscriber, bytes": body_bytes,
        "changes of a message, number": sum(map(len, bodies.values())) / messages,
        "all changes of a message, bytes": sum(map(sum, bodies.values())) / messages,
        "route, µs per webhook": cpu_us(lambda: facts(many), messages, rounds),
        "fold + store, ten messages each, µs": spread["us"],
        "fold + store, one conversation, µs": alone["us"],
        "the same against many conversations": alone["us"] / spread["us"],
        "read changes from the store, µs per change": spread["read"],
        "store, bytes per message whose changes wait": spread["full"],
        "store, bytes per message when they are forgotten": spread["bytes"],
    }
    for webhooks in (10, 1_000):
        each = matching(webhooks, rounds)
        found[f"match, µs per change and webhook, of {webhooks}"] = each["change"]
        found[f"list of webhooks, µs per batch and webhook, of {webhooks}"] = each["batch"]
    with RedisServer() as server:
        for share in SHARES:
            used = anyio.run(waiting, server.url, messages, share, body_bytes)
            found[f"Redis, bytes per waiting delivery, {share} of a change"] = used
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    found = measure(given.messages, given.rounds, given.seed)
    if given.json:
        units = {name: round(value, 3) for name, value in found.items()}
        baseline = "many conversations"
        print(json.dumps({"question": "units", "baseline": baseline, "messages": given.messages, "units": units}))
        return
    for name, value in found.items():
        print(f"{name:<60}{value:>12,.2f}")


if __name__ == "__main__":
    main()
