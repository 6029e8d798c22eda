"""Trace: found by an id, drawn as a timeline, inspected hop by hop, opened from other views."""

import pytest

from airy.tui.console.trace.rows import bar, reference
from tests.kit.console import console
from tests.kit.event_loops import asyncio_backend
from tests.kit.fake_instance import FakeInstance
from tests.kit.fake_traces import sent

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])


@pytest.fixture
def instance() -> FakeInstance:
    instance = FakeInstance()
    instance.conversation("c-3", "Ines Kuhn")
    for name in ("m-3-0", "m-3-1"):
        instance.message("c-3", name, {"text": name}, from_contact=False)
    instance.operations.traces = {name: sent(name, text=f"text of {name}") for name in ("m-3-0", "m-3-1")}
    instance.operations.traces["c-3"] = instance.operations.traces["m-3-1"]
    return instance


async def test_it_asks_for_an_id_and_draws_the_hops_with_the_time_between(instance: FakeInstance) -> None:
    async with console(instance, view="trace") as shown:
        assert "/ asks for an id" in shown.text
        await shown.press("slash", *"m-3-1", "enter")
        assert "← text of m-3-1" in shown.text
        assert "13 hops in 2.4 s" in shown.text
        started, failed = shown.line("send.started"), shown.line("send.failed")
        assert "events 7@1205" in started
        assert "31 ms" in started
        assert "rate: too many calls" in failed
        assert failed.count("█") > started.count("█")
        assert "waiting for bakery-2:8080" in shown.line("fold")
        assert "retry 503 in 31 ms, crm" in shown.line("delivery.attempt")
        await shown.press(*["down"] * 5, "enter")
        assert '"worker": "bakery-1"' in shown.text
        await shown.press("c", "escape")
        assert shown.app.clipboard.startswith("curl -sS http://127.0.0.1:8080/messages.trace")
        assert '{"id": "m-3-1"}' in shown.app.clipboard


async def test_an_unknown_id_is_said_and_the_next_one_is_traced(instance: FakeInstance) -> None:
    async with console(instance, view="trace") as shown:
        await shown.press("slash", *"nope", "enter")
        assert "/messages.trace answered 404" in shown.text
        await shown.press("slash", *"c-3", "enter")
        assert "text of m-3-1" in shown.text


async def test_the_messages_before_and_after_are_a_key_away(instance: FakeInstance) -> None:
    async with console(instance, view="trace") as shown:
        await shown.press("slash", *"m-3-1", "enter", "p")
        assert "text of m-3-0" in shown.text
        await shown.press("p")
        assert "it is the first message" in shown.text
        await shown.press("n")
        assert "text of m-3-1" in shown.text


async def test_conversations_and_tail_open_the_trace_of_what_is_chosen(instance: FakeInstance) -> None:
    async with console(instance, view="conversations") as shown:
        await shown.press("x")
        assert (shown.shown_view, "text of m-3-1" in shown.text) == ("trace", True)
        shown.events.append("message.updated", {"conversation_id": "c-3", "message": {"id": "m-3-0", "content": ""}})
        await shown.press("3")
        await shown.press("t")
        assert (shown.shown_view, "text of m-3-0" in shown.text) == ("trace", True)


def test_an_id_may_be_followed_by_a_source_or_a_channel(anyio_backend: object) -> None:
    del anyio_backend
    channel = "42cb5df9-590f-53d3-9be3-e8f9ed4cd453"
    assert reference(" m_1 ") == {"id": "m_1"}
    assert reference("m_1 facebook") == {"id": "m_1", "source": "facebook"}
    assert reference(f"m_1 {channel}") == {"id": "m_1", "channel_id": channel}


def test_bars_are_proportionate_and_what_took_time_has_one(anyio_backend: object) -> None:
    del anyio_backend
    assert (bar(0, 100), bar(1, 1_000_000), len(bar(100, 100)), len(bar(50, 100))) == ("", "▏", 8, 4)
