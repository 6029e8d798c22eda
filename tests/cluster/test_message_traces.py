"""A message traced over a real broker, in a process that folded what another one appended."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from secrets import token_hex

import anyio
import msgspec
import pytest
from aiokafka.admin import NewTopic

from airy import topics
from airy.actors.projector import Projector
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.bus.kafka import KafkaBus, KafkaSettings
from airy.bus.origin import HEADER
from airy.bus.record import Position, ProducerRecord
from airy.clock import SystemClock
from airy.commands.message_traces import MessageTracer, ProcessTimes, TraceReference
from airy.model import ids
from airy.model.delivery_attempt import DeliveryAttempt
from airy.model.fleet import FleetStatus
from airy.queue.sqlite import SqliteQueue
from airy.recent_times import BroadcastTimes, FoldTimes
from airy.store.sqlite import SqliteStore
from tests.kit.builders import START_MS, Chat, channel, webhook
from tests.kit.bus import running
from tests.kit.servers.shared import SharedKafka
from tests.kit.servers.topics import make_topics

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

RAW = topics.source_events("facebook")
HOUR_MS = 3_600_000
BETWEEN = 3_000  # messages of others between the two attempts
CHAT, HOOK = Chat(), webhook(events=("message.created",))
FACT = CHAT.received("hello")
EVENT_ID = ids.change_id(CHAT.conversation_id, FACT.id, 0)


@asynccontextmanager
async def log_of(kafka: SharedKafka) -> AsyncIterator[KafkaBus]:
    settings = KafkaSettings(bootstrap=tuple(kafka.bootstrap), namespace=f"trace-{token_hex(4)}")
    kept = {"retention.ms": "-1"}  # the times of the records are old
    used = (*topics.FOLDED, RAW, topics.ATTEMPTS)
    await make_topics(
        kafka.bootstrap,
        [NewTopic(settings.wire_name(each.name), each.partitions, 1, topic_configs=kept) for each in used],
    )
    async with running(KafkaBus(topics.ALL, settings)) as bus:
        yield bus


async def append(bus: Bus) -> tuple[Position, Position]:
    """Returns where the raw webhook and the fact are."""
    await bus.publish(
        [topics.CHANNELS.record(CHAT.channel_id, channel()), topics.WEBHOOKS.record(HOOK.id, HOOK)],
    )
    request = ("request-id", b"r-1")
    [raw] = await bus.publish([RAW.record("page", b"{}", headers=(request,), timestamp_ms=START_MS)])
    place = (HEADER, "/".join(map(str, raw)).encode())
    others = [Chat(number).received(number) for number in range(1, 200)]
    facts = [FACT, *others]
    at, *_ = await bus.publish(
        [
            topics.EVENTS.record(each.conversation_id, each, headers=(request, place), timestamp_ms=START_MS + 20)
            for each in facts
        ]
    )
    again_ms = START_MS + HOUR_MS
    await bus.publish([attempt("other", START_MS + 50 + number) for number in range(BETWEEN)])
    await bus.publish([attempt(EVENT_ID, START_MS + 60, again_ms), attempt(EVENT_ID, again_ms + 30)])
    return raw, at


def attempt(event_id: str, at_ms: int, again_at_ms: int | None = None) -> ProducerRecord:
    delivery = DeliveryAttempt(
        id=f"{event_id}:{HOOK.id}",
        webhook_id=HOOK.id,
        event_id=event_id,
        kind="message.created",
        attempt=1 if again_at_ms else 2,
        at_ms=at_ms,
        took_ms=5,
        result="again" if again_at_ms else "delivered",
        again_at_ms=again_at_ms,
    )
    return topics.ATTEMPTS.record(delivery.id, msgspec.json.encode(delivery), timestamp_ms=at_ms)


async def test_a_message_is_traced_from_another_process_over_a_real_broker(kafka: SharedKafka) -> None:
    store, queue, caught_up = SqliteStore(":memory:"), SqliteQueue(), anyio.Event()
    await store.open()
    await queue.open()
    async with log_of(kafka) as bus, anyio.create_task_group() as tasks:
        raw, at = await append(bus)
        context = Context("store", clock=SystemClock(), random=Random(0), on_ready=caught_up.set)
        tasks.start_soon(Projector(bus, store).run, context)
        await caught_up.wait()
        times = ProcessTimes(FoldTimes(), BroadcastTimes())
        tracer = MessageTracer(bus, store, store, queue, FleetStatus, times, search_s=60.0)
        trace = await tracer.trace(TraceReference(id=CHAT.provider_id("hello")))
        tasks.cancel_scope.cancel()
    await queue.close()
    await store.close()
    assert [(hop.kind, hop.position) for hop in trace.hops[:3]] == [
        ("webhook.received", raw),
        ("message.received", at),
        ("fold", at),
    ]
    attempts = [hop for hop in trace.hops if hop.kind == "delivery.attempt"]
    assert [(hop.outcome, hop.detail["attempt"]) for hop in attempts] == [("retry", 1), ("delivered", 2)]
    assert trace.complete
