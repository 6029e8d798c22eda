"""How long does the trace of a message take, in a log of 10⁶ messages?

Every message is in the log as an installation writes it: a tenth is sent (queued, started, succeeded) and the others
came by webhook; each was delivered to one subscriber, so that there are as many attempts. The store has folded them all
and changes are pruned. Messages are chosen at random and traced one after the other, by every kind of id; elapsed time.
Baseline of the same run: reading the records of the same messages by their positions, once and in one request.

    python benchmarks/bench_trace.py [--messages 1000000] [--traces 200] [--kafka] [--json]
"""

import argparse
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anyio
import anyio.lowlevel
import msgspec
import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from msgspec import Raw

from airy import topics
from airy.bus.api import Bus
from airy.bus.kafka import KafkaBus, KafkaSettings
from airy.bus.memory import MemoryBus, RetentionSettings
from airy.bus.memory.journal import open_journal
from airy.bus.record import Position, ProducerRecord, Record
from airy.clock import SystemClock
from airy.commands.message_traces import MessageTracer, ProcessTimes, TraceReference
from airy.commands.message_traces.record_reader import read_records
from airy.model import ids
from airy.model.change import ChangeKind
from airy.model.delivery_attempt import DeliveryAttempt
from airy.model.entity import Channel, Webhook
from airy.model.fact import Fact, MessageQueued, MessageReceived, SendStarted, SendSucceeded
from airy.model.fleet import FleetStatus
from airy.queue.api import QueuePosition, Shard
from airy.recent_times import BroadcastTimes, FoldTimes
from airy.store.sqlite import SqliteStore
from tests.kit.bus import running
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.kafka_settings import STEADY_JVM

GOAL_S = 1.0
BATCH = 500  # messages of one step
FOLD_BATCH = 256
CHANNELS, CONVERSATIONS = 20, 50_000
STEP_MS = 4  # between two messages: 250 a second
START_MS = 1_767_225_600_000
RAW = topics.source_events("facebook")
CONTENT = Raw(b'{"message":{"text":"Is the rye bread back, and until when are you open today?"}}')
USED = (*topics.FOLDED, RAW, topics.ATTEMPTS)


class DrainedQueue:
    """A webhook queue that has delivered everything."""

    async def positions(self, shards: Sequence[Shard]) -> list[QueuePosition]:
        return [QueuePosition((10**12, 0), (10**12, 1)) for _ in shards]


class History:
    """Makes the messages; `kept` are ids of some of them: message, provider's id, conversation, channel."""

    def __init__(self, seed: int, every: int) -> None:
        self._random = Random(seed)
        self._every = every  # so many messages apart are kept
        self.channels = [
            Channel(
                id=ids.channel_id("facebook", f"p{n}"), source="facebook", source_channel_id=f"p{n}", connected=True
            )
            for n in range(CHANNELS)
        ]
        self.kept: list[tuple[str, str, str, str]] = []
        self._number = 0

    def step(self) -> tuple[list[ProducerRecord], list[list[Fact]], list[int]]:
        """Raw webhooks, and the facts of each message with the index of its webhook, -1 for one of ours."""
        webhooks: list[ProducerRecord] = []
        facts: list[list[Fact]] = []
        origins: list[int] = []
        for _ in range(BATCH):
            self._number += 1
            channel = self._random.choice(self.channels)
            contact = f"u{self._random.randrange(CONVERSATIONS // CHANNELS)}"
            ours = self._number % 10 == 0
            made = self._sent(channel, contact) if ours else self._received(channel, contact)
            facts.append(made)
            origins.append(-1 if ours else len(webhooks))
            if not ours:
                headers = (("request-id", b"r-%d" % self._number),)
                body = b'{"object":"page","entry":[{"messaging":[%s]}]}' % bytes(CONTENT)
                webhooks.append(RAW.record(channel.source_channel_id, body, headers=headers, timestamp_ms=self._now_ms))
        return webhooks, facts, origins

    @property
    def _now_ms(self) -> int:
        return START_MS + self._number * STEP_MS

    def _about(self, channel: Channel, contact: str, name: str) -> dict[str, Any]:
        conversation_id = ids.conversation_id(channel.id, contact)
        return {
            "id": ids.derive(conversation_id, f"{name}{self._number}"),
            "conversation_id": conversation_id,
            "channel_id": channel.id,
            "source": "facebook",
            "at_ms": self._now_ms,
            "cause": f"r-{self._number}",
        }

    def _received(self, channel: Channel, contact: str) -> list[Fact]:
        provider_id = f"m_{self._number}_{'y' * 40}"
        about = self._about(channel, contact, "in")
        message_id = ids.message_id(channel.id, provider_id)
        self._keep(message_id, provider_id, about)
        return [
            MessageReceived(
                **about, message_id=message_id, participant_id=contact, provider_id=provider_id, content=CONTENT
            )
        ]

    def _sent(self, channel: Channel, contact: str) -> list[Fact]:
        message_id, provider_id = ids.derive("ours", str(self._number)), f"m_{self._number}_{'z' * 40}"
        about = self._about(channel, contact, "queued")
        self._keep(message_id, provider_id, about)
        first = MessageQueued(
            **about, message_id=message_id, sender_id="grace@example.net", content=CONTENT, recipient_id=contact
        )
        started = self._about(channel, contact, "started")
        done = self._about(channel, contact, "done")
        return [
            first,
            SendStarted(**started, message_id=message_id, attempt=1, worker="w"),
            SendSucceeded(**done, message_id=message_id, attempt=1, provider_id=provider_id),
        ]

    def _keep(self, message_id: str, provider_id: str, about: dict[str, Any]) -> None:
        if self._number % self._every in (0, 1):  # both kinds
            self.kept.append((message_id, provider_id, about["conversation_id"], about["channel_id"]))


async def fill(bus: Bus, store: SqliteStore, history: History, messages: int) -> None:
    """Append and fold; prune as the readers of changes allow."""
    hook = Webhook(id="hook", url="https://crm.example.net/hook", status="Subscribed", events=("message.created",))
    first = [topics.WEBHOOKS.record(hook.id, hook)]
    first += [topics.CHANNELS.record(each.id, each) for each in history.channels]
    await fold(store, first, await bus.publish(first))
    for done in range(0, messages, BATCH):
        webhooks, facts, origins = history.step()
        places = await bus.publish(webhooks)
        records = [
            record
            for made, origin in zip(facts, origins, strict=True)
            for record in fact_records(made, None if origin < 0 else places[origin])
        ]
        await fold(store, records, await bus.publish(records))
        await bus.publish([attempt_record(made[0]) for made in facts])
        if done % 5_000 == 0:
            await store.prune_changes(await store.positions())
            await store.checkpoint()
        if done % 50_000 == 0:
            print(f"{done:,} messages", file=sys.stderr)


def fact_records(facts: list[Fact], origin: Position | None) -> list[ProducerRecord]:
    place = () if origin is None else (("origin", f"{origin.topic}/{origin.partition}/{origin.offset}".encode()),)
    return [
        topics.EVENTS.record(
            fact.conversation_id,
            fact,
            headers=(("id", fact.id.encode()), ("request-id", fact.cause.encode()), *place),
            timestamp_ms=fact.at_ms + 5,
        )
        for fact in facts
    ]


def attempt_record(fact: Fact) -> ProducerRecord:
    event_id = ids.change_id(fact.conversation_id, fact.id, 0)
    attempt = DeliveryAttempt(
        id=f"{event_id}:hook",
        webhook_id="hook",
        event_id=event_id,
        kind=ChangeKind.MESSAGE_CREATED,
        attempt=1,
        at_ms=fact.at_ms + 40,
        took_ms=12,
        result="delivered",
        status=204,
    )
    return topics.ATTEMPTS.record(attempt.id, msgspec.json.encode(attempt), timestamp_ms=fact.at_ms + 250)


async def fold(store: SqliteStore, records: list[ProducerRecord], positions: Sequence[Position]) -> None:
    appended = [
        Record(r.topic, r.partition, at.offset, r.key, r.value, r.headers, r.timestamp_ms or 0)
        for r, at in zip(records, positions, strict=True)
    ]
    for start in range(0, len(appended), FOLD_BATCH):
        await store.apply(appended[start : start + FOLD_BATCH])
        await anyio.lowlevel.checkpoint()


async def timed(run: Callable[[], Awaitable[object]]) -> float:
    begin = time.perf_counter()
    await run()
    return time.perf_counter() - begin


def summary(took: list[float]) -> dict[str, float]:
    ordered = sorted(took)
    p99 = ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))]
    return {"p50_ms": statistics.median(took) * 1000, "p99_ms": p99 * 1000}


async def measured(bus: Bus, store: SqliteStore, history: History, traces: int, seed: int) -> dict[str, Any]:
    times = ProcessTimes(FoldTimes(), BroadcastTimes())
    tracer = MessageTracer(bus, store, store, DrainedQueue(), FleetStatus, times)  # type: ignore[arg-type] # of the queue, `positions` is used
    chosen = Random(seed).sample(history.kept, min(traces, len(history.kept)))
    references: dict[str, Callable[[tuple[str, str, str, str]], TraceReference]] = {
        "message id": lambda one: TraceReference(message_id=one[0]),
        "provider's id, of a channel": lambda one: TraceReference(source_message_id=one[1], channel_id=one[3]),
        "provider's id alone": lambda one: TraceReference(source_message_id=one[1]),
        "any id": lambda one: TraceReference(id=one[1]),
        "conversation": lambda one: TraceReference(conversation_id=one[2]),
    }
    took: dict[str, list[float]] = {name: [] for name in ("records by position", *references)}
    hops = complete = 0
    for one in chosen:
        [found] = await store.folded_messages([one[0]])
        partition = topics.EVENTS.partition(found.message.conversation_id)
        places = [Position(topics.EVENTS.name, partition, offset) for offset in found.offsets]
        took["records by position"].append(await timed(lambda places=places: read_records(bus, places)))  # type: ignore[misc]
        for name, reference in references.items():
            begin = time.perf_counter()
            trace = await tracer.trace(reference(one))
            took[name].append(time.perf_counter() - begin)
            if name != "conversation":
                assert trace.message.id == one[0], name
                found_attempt = any(hop.kind == "delivery.attempt" for hop in trace.hops)
                assert found_attempt or not trace.complete, (name, one)
            hops, complete = hops + len(trace.hops), complete + trace.complete
    cases = {name: summary(each) for name, each in took.items()}
    base = cases["records by position"]["p99_ms"]
    ratios = {name: case["p99_ms"] / base for name, case in cases.items()}
    count = len(chosen) * len(references)
    return {"cases": cases, "ratio_p99": ratios, "hops": hops / count, "complete": complete / count}


@asynccontextmanager
async def journal_bus(directory: Path) -> AsyncIterator[Bus]:
    kept = RetentionSettings(interval_s=1e9)  # the times of the records are old
    yield_bus = MemoryBus(topics.ALL, clock=SystemClock(), journal=open_journal(directory / "journal"), retention=kept)
    async with running(yield_bus) as bus:
        yield bus


@asynccontextmanager
async def kafka_bus(bootstrap: list[str]) -> AsyncIterator[Bus]:
    settings = KafkaSettings(bootstrap=tuple(bootstrap), namespace=f"bench-{secrets.token_hex(4)}")
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    kept = {"retention.ms": "-1"}  # likewise
    await admin.create_topics(
        [NewTopic(settings.wire_name(topic.name), topic.partitions, 1, topic_configs=kept) for topic in USED]
    )
    await admin.close()
    async with running(KafkaBus(topics.ALL, settings)) as bus:
        yield bus


async def measure(bootstrap: list[str] | None, messages: int, traces: int, seed: int) -> dict[str, Any]:
    history = History(seed, max(10, messages // max(1, traces) // 10 * 10))
    with tempfile.TemporaryDirectory(prefix="airy-bench-", dir="/var/tmp") as name:
        directory = Path(name)
        store = SqliteStore(directory / "store.db")
        await store.open()
        async with kafka_bus(bootstrap) if bootstrap else journal_bus(directory) as bus:
            begin = time.perf_counter()
            await fill(bus, store, history, messages)
            filled_s = time.perf_counter() - begin
            found = await measured(bus, store, history, traces, seed)
        await store.close()
    log = "Kafka" if bootstrap else "the journal"
    return {"messages": messages, "log": log, "filled_s": filled_s, "goal_s": GOAL_S, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--traces", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(30), logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
    with KafkaCluster(jvm=STEADY_JVM) if options.kafka else nullcontext() as kafka:
        found = anyio.run(
            measure,
            kafka.bootstrap if kafka else None,
            options.messages,
            options.traces,
            options.seed,
            backend_options={"use_uvloop": True},
        )
    if options.json:
        print(json.dumps({"question": "trace", "baseline": "the records of the message by position", **found}))
        return
    print(f"{found['messages']:,} messages in {found['log']}, filled in {found['filled_s']:,.0f} s")
    for name, case in found["cases"].items():
        ratio = found["ratio_p99"][name]
        print(f"{name:<30} p50 {case['p50_ms']:7.1f} ms   p99 {case['p99_ms']:7.1f} ms   {ratio:5.1f} x")
    print(f"{found['hops']:.1f} hops a trace, {found['complete']:.0%} complete; goal: p99 below {GOAL_S:g} s")


if __name__ == "__main__":
    main()
