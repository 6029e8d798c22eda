"""Logs: the lines of every process as they are written, by level and words."""

import pytest

from tests.kit.console import console
from tests.kit.event_loops import asyncio_backend
from tests.kit.fake_instance import FakeInstance

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])


@pytest.fixture
def instance() -> FakeInstance:
    instance = FakeInstance()
    instance.logs.write("one:8080", 1, "process.started", url="http://one:8080")
    instance.logs.write("one:8080", 2, "send.ended", "debug", path="airy/sources/connector")
    instance.logs.write(
        "two:8080", 3, "delivery.failed", "warning", path="airy/webhook-consumer/dispatcher", status=500
    )
    instance.logs.write(
        "one:8080", 4, "request.failed", "error", exception=[{"exc_type": "KeyError", "exc_value": "x"}]
    )
    return instance


async def test_lines_of_all_processes_are_shown_in_order_and_followed(instance: FakeInstance) -> None:
    async with console(instance, view="logs") as shown:
        shown_events = [line for line in shown.text.splitlines() if ":8080" in line and "." in line[:14]]
        assert [line.split()[3] for line in shown_events] == ["process.started", "delivery.failed", "request.failed"]
        assert "dispatcher status=500" in shown.line("delivery.failed")
        assert "KeyError: x" in shown.line("request.failed")
        assert "3 lines of 2 processes" in shown.text
        instance.logs.write("two:8080", 5, "webhooks.parked")
        await shown.settle(1.2)
        assert "webhooks.parked" in shown.text


async def test_space_pauses_and_nothing_of_the_pause_is_lost(instance: FakeInstance) -> None:
    async with console(instance, view="logs") as shown:
        await shown.press("space")
        assert "paused: Space goes on" in shown.text
        instance.logs.write("two:8080", 5, "webhooks.parked")
        await shown.settle(2.2)
        assert "webhooks.parked" not in shown.text
        await shown.press("space")
        assert "webhooks.parked" in shown.text


async def test_a_key_shows_worse_levels_only(instance: FakeInstance) -> None:
    async with console(instance, view="logs") as shown:
        await shown.press("l")
        assert "process.started" not in shown.text
        assert "delivery.failed" in shown.text
        await shown.press("l")
        assert "delivery.failed" not in shown.text
        await shown.press("l")
        assert "send.ended" in shown.text


async def test_a_filter_takes_words_and_escape_ends_it(instance: FakeInstance) -> None:
    async with console(instance, view="logs") as shown:
        await shown.press("slash", *"dispatcher", "enter")
        assert "delivery.failed" in shown.text
        assert "request.failed" not in shown.text
        await shown.press("escape")
        assert "request.failed" in shown.text


async def test_enter_shows_all_fields_and_c_copies_the_question(instance: FakeInstance) -> None:
    async with console(instance, view="logs") as shown:
        await shown.press("enter")
        assert '"instance": "one:8080"' in shown.text
        assert '"exc_type": "KeyError"' in shown.text
        await shown.press("escape", "c")
        assert "/logs.list -H" in shown.app.clipboard
        assert '"level": "info"' in shown.app.clipboard


async def test_lines_are_cleared_and_later_ones_still_come(instance: FakeInstance) -> None:
    async with console(instance, view="logs") as shown:
        await shown.press("x")
        assert "process.started" not in shown.text
        instance.logs.write("two:8080", 5, "webhooks.parked")
        await shown.settle(1.2)
        assert "webhooks.parked" in shown.text


async def test_a_restart_of_a_process_is_survived_and_lost_lines_are_counted(instance: FakeInstance) -> None:
    async with console(instance, view="logs") as shown:
        instance.down = True
        await shown.settle(2.2)
        assert "connection refused" in shown.text
        instance.down = False
        instance.logs.restart("one:8080")
        instance.logs.write("one:8080", 9, "after.restart")
        for second in range(6_000):
            instance.logs.write("two:8080", 10 + second // 100, "noise", "debug")
        await shown.settle(1.5)
        assert "after.restart" in shown.text
        assert "request.failed" in shown.text
        assert "1,000 were lost" in shown.text
