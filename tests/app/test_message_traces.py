"""`/messages.trace` over the whole of Airy in one process: what happened to a message, by any of its ids."""

from typing import Any

from airy import topics
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
