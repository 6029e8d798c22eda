"""One trace from the request that came in to the requests that go out, through the composition as it runs."""

from collections.abc import Mapping

import msgspec

from airy import topics
from airy.bus.record import Emit, Record
from airy.model.fact import SendStarted, SendSucceeded
from airy.store.sqlite import SqliteStore
from airy.trace import Trace, parse
from tests.kit.composition import Composition

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


async def test_a_webhook_that_is_delivered_is_in_the_trace_of_the_one_that_came_in() -> None:
    async with Composition().open() as here:
        await here.connect()
        await here.subscribe("message.created")
        assert (await here.says("one", traceparent=GIVEN.header)).status == 200
        [delivered] = await here.until(lambda: here.endpoint.accepted)
        trace = read(delivered.headers)

        assert (trace.trace_id, trace.flags) == (GIVEN.trace_id, GIVEN.flags)
        assert trace.span_id != GIVEN.span_id
        assert b"4bf92f" not in delivered.body  # the trace is of the call, never of the event
        assert traces(await here.records(EVENTS)) == {GIVEN.trace_id}
        received = [record for record in await here.records(topics.EVENTS) if b"message.received" in record.value]  # type: ignore[operator]
        assert traces(received) == {GIVEN.trace_id}


async def test_a_webhook_without_a_trace_begins_one_and_two_begin_two() -> None:
    async with Composition().open() as here:
        await here.connect()
        await here.subscribe("message.created")
        await here.says("one")
        await here.says("two")
        await here.until(lambda: len(here.endpoint.accepted) == 2)
        came = traces(await here.records(EVENTS))

        assert len(came) == 2
        assert {read(each.headers).trace_id for each in here.endpoint.accepted} == came


async def test_what_a_client_asks_for_is_in_its_trace_up_to_the_news_that_it_was_sent_and_the_provider_sees_none() -> (
    None
):
    async with Composition().open() as here:
        await here.connect()
        await here.says("hello")
        await here.until(lambda: here.parts.follower.facts)
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


async def test_a_tag_that_is_changed_is_told_in_the_trace_of_who_changed_it() -> None:
    async with Composition().open() as here:
        await here.subscribe("tag.updated")
        await here.asked("/tags.create", {"name": "vip", "color": "tag-red"}, traceparent=GIVEN.header)
        [delivered] = await here.until(lambda: here.endpoint.accepted)

        assert read(delivered.headers).trace_id == GIVEN.trace_id


async def test_each_attempt_is_a_step_of_its_own_and_a_log_line_that_names_what_it_is_about() -> None:
    async with Composition().open() as here:
        await here.connect()
        await here.subscribe("message.created")
        here.endpoint.trouble = 1.0
        await here.says("one", traceparent=GIVEN.header)
        await here.until(lambda: here.parts.deliveries["failed"])
        here.endpoint.trouble = 0.0
        await here.until(lambda: here.endpoint.answered)
        line = here.line("delivery.failed")
        assert line is not None
        [record] = [each for each in await here.records(topics.EVENTS) if b"message.received" in (each.value or b"")]

        assert line["trace_id"] == GIVEN.trace_id
        assert line["conversation_id"] == record.key.decode()
        assert line["offset"] == record.offset
        assert line["attempt"] == 1


async def test_what_is_parked_is_said_with_its_trace_and_told_in_it_once_its_page_is_connected() -> None:
    async with Composition().open() as here:
        await here.subscribe("message.created")
        await here.says("too early", traceparent=GIVEN.header)
        line = await here.until(lambda: here.line("webhooks.parked"))
        [raw] = await here.records(EVENTS)
        assert (line["trace_id"], line["offset"], line["partition"]) == (GIVEN.trace_id, raw.offset, raw.partition)

        await here.connect()
        [delivered] = await here.until(lambda: here.endpoint.accepted)
        assert read(delivered.headers).trace_id == GIVEN.trace_id


async def test_what_nobody_can_read_is_said_with_its_trace_and_counted() -> None:
    async with Composition().open() as here:
        assert (await here.posts(b"[1, 2", traceparent=GIVEN.header)).status == 200
        line = await here.until(lambda: here.line("webhooks.dead_lettered"))
        assert line["trace_id"] == GIVEN.trace_id
        assert line["reason"]

        await here.bus.publish([Emit(topics.EVENTS.name, 0, b"x", b"not a fact")])
        await here.until(lambda: here.parts.follower.bad)
        text = (await here.get("/metrics")).body.decode()
        assert 'airy_provider_webhooks_total{what="dead_lettered"} 1.0' in text
        assert "airy_records_dead_lettered_total 1.0" in text


async def test_traces_change_nothing_in_what_is_folded() -> None:
    """Two logs that differ in their traces alone have the same store, changes and all."""
    async with Composition().open() as here:
        await here.connect()
        await here.says("one", traceparent=GIVEN.header)
        await here.until(lambda: here.parts.follower.facts)
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
