"""`/messages.trace` over the whole of Airy in one process: what happened to a message, by any of its ids."""

from typing import Any

import anyio

from airy import topics
from airy.actors.feed_subscriber import FeedScope
from airy.bus.record import Position
from airy.http.response_schemas import MessageTraceSchema
from airy.model import ids
from airy.sim.graph import DEMO_PAGE
from tests.kit.in_process import InProcessAiry
from tests.kit.response_schemas import validated

CHANNEL_ID = ids.channel_id("facebook", DEMO_PAGE.id)


def kinds(trace: Any) -> list[str]:
    return [hop["kind"] for hop in trace["hops"]]


async def conversation_of(here: InProcessAiry) -> dict[str, Any]:
    [conversation] = (await here.asked("/conversations.list"))["data"]
    found: dict[str, Any] = conversation
    return found


async def test_a_message_of_a_contact_is_traced_from_its_webhook_by_any_of_its_ids() -> None:
    async with InProcessAiry().open() as here:
        await here.connect()
        await here.says("one")
        await here.until(lambda: here.services.projector.facts)
        conversation = await conversation_of(here)
        message = conversation["last_message"]
        named = [
            {"id": message["id"]},
            {"id": "m_one"},
            {"id": conversation["id"]},
            {"message_id": message["id"]},
            {"source_message_id": "m_one", "channel_id": CHANNEL_ID},
            {"source_message_id": "m_one", "source": "facebook"},
            {"conversation_id": conversation["id"]},
        ]
        traces = [await here.asked("/messages.trace", each) for each in named]
        [webhook] = await here.records(topics.source_events("facebook"))
        event = (await here.records(topics.EVENTS))[0]

    trace = validated(MessageTraceSchema, traces[0])
    assert all(each["message"]["id"] == message["id"] and each["hops"] == traces[0]["hops"] for each in traces)
    assert (trace.conversation_id, trace.channel_id, trace.complete) == (conversation["id"], CHANNEL_ID, True)
    assert kinds(traces[0])[:3] == ["webhook.received", "message.received", "fold"]
    received, fact, fold = trace.hops[:3]
    assert (received.topic, received.partition, received.offset) == tuple(webhook.position)
    assert (fact.topic, fact.partition, fact.offset) == tuple(event.position)
    assert received.detail["value"]["object"] == "page"
    assert fact.detail["value"]["message_id"] == message["id"]
    assert (received.outcome, fact.outcome, fold.outcome) == ("stored", "stored", "folded")


async def test_a_message_of_ours_is_traced_through_attempts_answers_and_receipts() -> None:
    async with InProcessAiry().open() as here, anyio.create_task_group() as tasks:
        await here.connect()
        await here.says("one")
        await here.until(lambda: here.services.projector.facts)
        conversation = await conversation_of(here)
        await here.subscribe("message.created", "message.updated")
        following = anyio.Event()
        tasks.start_soon(here.services.changes.follow, FeedScope(), None, lambda _: _set(following))
        await following.wait()
        here.endpoint.failure_rate = 1.0
        sent = await here.asked("/messages.send", {"conversation_id": conversation["id"], "message": {"text": "hi"}})
        await here.until(lambda: here.line("delivery.failed"))
        here.endpoint.failure_rate = 0.0
        await here.until(lambda: len(here.endpoint.answered) == 2)
        await anyio.sleep(1.0)  # attempts are published in batches
        trace = validated(MessageTraceSchema, await here.asked("/messages.trace", {"message_id": sent["id"]}))
        [webhook] = (await here.asked("/webhooks.list"))["data"]
        tasks.cancel_scope.cancel()

    assert [hop.kind for hop in trace.hops if not hop.kind.startswith("delivery.")] == [
        "message.queued",
        "fold",
        "store",
        "events.broadcast",
        "webhooks.queued",
        "send.started",
        "send.succeeded",
    ]
    deliveries = [hop for hop in trace.hops if hop.kind == "delivery.attempt"]
    assert [(hop.outcome, hop.detail["event"], hop.detail["attempt"]) for hop in deliveries] == [
        ("retry", "message.created", 1),
        ("delivered", "message.created", 2),
        ("delivered", "message.updated", 1),
    ]
    assert {hop.detail["webhook_id"] for hop in deliveries} == {webhook["id"]}
    assert all(hop.since_previous_ms is None or hop.since_previous_ms >= 0 for hop in trace.hops)
    assert trace.complete
    by_kind = {hop.kind: hop for hop in trace.hops}
    assert by_kind["events.broadcast"].detail["subscribers"] == 1
    assert by_kind["store"].detail["instance"] == by_kind["events.broadcast"].detail["instance"]
    assert all(by_kind[kind].at for kind in ("fold", "store", "events.broadcast", "webhooks.queued"))


async def _set(event: anyio.Event) -> None:
    event.set()


async def test_a_message_that_was_parked_is_traced_to_its_webhook_until_retention_deletes_that() -> None:
    async with InProcessAiry().open() as here:
        await here.says("early")
        await anyio.sleep(2.0)
        await here.connect()
        await here.until(lambda: here.services.projector.facts)
        before = await here.asked("/messages.trace", {"id": "m_early"})
        [webhook] = await here.records(topics.source_events("facebook"))
        here.clock.set(15 * topics.DAY_MS)
        await here.bus.run_retention()
        after = await here.asked("/messages.trace", {"id": "m_early"})

    assert kinds(before)[:3] == kinds(after)[:3] == ["webhook.received", "message.received", "fold"]
    assert all(place(trace["hops"][0]) == webhook.position for trace in (before, after))
    assert [trace["hops"][0]["outcome"] for trace in (before, after)] == ["stored", "beyond_retention"]
    assert (before["hops"][0]["detail"]["value"]["object"], after["hops"][0]["detail"]) == ("page", {})


def place(hop: Any) -> Position:
    return Position(hop["topic"], hop["partition"], hop["offset"])
