"""Traces from received requests to outbound ones, through a full process."""

from collections.abc import Mapping

import msgspec

from airy import topics
from airy.bus.record import ProducerRecord, Record
from airy.model.fact import SendStarted, SendSucceeded
from airy.store.sqlite import SqliteStore
from airy.trace import Trace, parse
from tests.kit.in_process import InProcessAiry

GIVEN = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1)
EVENTS = topics.source_events("facebook")


def read(headers: Mapping[str, str]) -> Trace:
    trace = parse(headers["traceparent"])
    assert trace is not None
    return trace


def traces(records: list[Record]) -> set[str]:
    return {trace.trace_id for record in records if (trace := parse(record.header("traceparent") or ""))}


def untraced(record: Record) -> Record:
    kept = tuple((name, value) for name, value in record.headers if name != "traceparent")
    return msgspec.structs.replace(record, headers=kept)


async def test_a_delivered_webhook_continues_the_trace_of_the_received_one() -> None:
    async with InProcessAiry().open() as here:
        await here.connect()
        await here.subscribe("message.created")
        assert (await here.says("one", traceparent=GIVEN.header)).status == 200
        [delivered] = await here.until(lambda: here.endpoint.accepted)
        trace = read(delivered.headers)

        assert (trace.trace_id, trace.flags) == (GIVEN.trace_id, GIVEN.flags)
        assert trace.span_id != GIVEN.span_id
        assert b"4bf92f" not in delivered.body  # the trace belongs to the request, not to the event
        assert traces(await here.records(EVENTS)) == {GIVEN.trace_id}
        received = [record for record in await here.records(topics.EVENTS) if b"message.received" in record.value]  # type: ignore[operator]
        assert traces(received) == {GIVEN.trace_id}


async def test_webhooks_without_a_trace_start_separate_traces() -> None:
    async with InProcessAiry().open() as here:
        await here.connect()
        await here.subscribe("message.created")
        await here.says("one")
        await here.says("two")
        await here.until(lambda: len(here.endpoint.accepted) == 2)
        came = traces(await here.records(EVENTS))

        assert len(came) == 2
        assert {read(each.headers).trace_id for each in here.endpoint.accepted} == came


async def test_a_send_keeps_its_callers_trace_which_the_provider_does_not_see() -> None:
    async with InProcessAiry().open() as here:
        await here.connect()
        await here.says("hello")
        await here.until(lambda: here.services.projector.facts)
        conversation = (await here.asked("/conversations.list", {}))["data"][0]["id"]
        await here.subscribe("message.created", "message.updated")
        answer = await here.post(
            "/messages.send", {"conversation_id": conversation, "message": {"text": "hi"}}, traceparent=GIVEN.header
        )
        await here.until(lambda: any(b'"delivered"' in each.body for each in here.endpoint.accepted))
        answered = parse(answer.headers["traceresponse"])

        assert answered is not None
        assert (answered.trace_id, answered.span_id == GIVEN.span_id) == (GIVEN.trace_id, False)
        kinds = [msgspec.json.decode(each.body)["type"] for each in here.endpoint.accepted]
        assert kinds == ["message.created", "message.updated"]
        assert {read(each.headers).trace_id for each in here.endpoint.accepted} == {GIVEN.trace_id}
        facts = [(topics.EVENTS.decode(record), record) for record in await here.records(topics.EVENTS)]
        sends = [record for fact, record in facts if isinstance(fact, SendStarted | SendSucceeded)]
        assert len(sends) == 2
        assert traces(sends) == {GIVEN.trace_id}
        assert here.provider_calls
        assert not any("traceparent" in headers for headers in here.provider_calls)


async def test_a_tag_change_is_delivered_in_its_callers_trace() -> None:
    async with InProcessAiry().open() as here:
        await here.subscribe("tag.updated")
        await here.asked("/tags.create", {"name": "vip", "color": "tag-red"}, traceparent=GIVEN.header)
        [delivered] = await here.until(lambda: here.endpoint.accepted)

        assert read(delivered.headers).trace_id == GIVEN.trace_id


async def test_each_delivery_attempt_has_its_own_span_and_a_log_line_with_ids() -> None:
    async with InProcessAiry().open() as here:
        await here.connect()
        await here.subscribe("message.created")
        here.endpoint.failure_rate = 1.0
        await here.says("one", traceparent=GIVEN.header)
        await here.until(lambda: here.services.counters.deliveries.attempts["failed"])
        here.endpoint.failure_rate = 0.0
        await here.until(lambda: here.endpoint.answered)
        line = here.line("delivery.failed")
        assert line is not None
        [record] = [each for each in await here.records(topics.EVENTS) if b"message.received" in (each.value or b"")]

        assert line["trace_id"] == GIVEN.trace_id
        assert line["conversation_id"] == record.key.decode()
        assert line["offset"] == record.offset
        assert line["attempt"] == 1


async def test_a_parked_webhook_keeps_its_trace_until_it_is_replayed() -> None:
    async with InProcessAiry().open() as here:
        await here.subscribe("message.created")
        await here.says("too early", traceparent=GIVEN.header)
        line = await here.until(lambda: here.line("webhooks.parked"))
        [raw] = await here.records(EVENTS)
        assert (line["trace_id"], line["offset"], line["partition"]) == (GIVEN.trace_id, raw.offset, raw.partition)

        await here.connect()
        [delivered] = await here.until(lambda: here.endpoint.accepted)
        assert read(delivered.headers).trace_id == GIVEN.trace_id


async def test_a_dead_lettered_record_is_logged_with_its_trace_and_counted() -> None:
    async with InProcessAiry().open() as here:
        assert (await here.posts(b"[1, 2", traceparent=GIVEN.header)).status == 200
        line = await here.until(lambda: here.line("webhooks.dead_lettered"))
        assert line["trace_id"] == GIVEN.trace_id
        assert line["reason"]

        await here.bus.publish([ProducerRecord(topics.EVENTS.name, 0, b"x", b"not a fact")])
        await here.until(lambda: here.services.projector.unprocessable)
        text = (await here.get("/metrics")).body.decode()
        assert 'airy_provider_webhooks_total{kind="dead_lettered"} 1.0' in text
        assert "airy_records_dead_lettered_total 1.0" in text


async def test_traces_do_not_change_the_fold() -> None:
    """Two logs that differ only in traces fold to equal stores and changes."""
    async with InProcessAiry().open() as here:
        await here.connect()
        await here.says("one", traceparent=GIVEN.header)
        await here.until(lambda: here.services.projector.facts)
        records = [each for topic in topics.FOLDED for each in await here.records(topic)]

    digests = []
    for keep in (True, False):
        store = SqliteStore(":memory:")
        await store.open()
        await store.apply([each if keep else untraced(each) for each in records])
        digests.append(await store.digest(changes=True))
        await store.close()
    assert GIVEN.trace_id in traces(records)
    assert not traces([untraced(each) for each in records])
    assert digests[0] == digests[1]
