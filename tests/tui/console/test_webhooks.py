"""Webhooks: status, dead deliveries of the chosen one, replay, subscription."""

import pytest

from tests.kit.console import console
from tests.kit.event_loops import asyncio_backend
from tests.kit.fake_instance import FakeInstance

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])


@pytest.fixture
def instance() -> FakeInstance:
    instance = FakeInstance()
    instance.operations.webhook("w-shop", "shop")
    instance.operations.webhook("w-crm", "crm", "answered 500", "timed out")
    return instance


async def test_the_arrows_choose_the_webhook_whose_dead_deliveries_are_shown(instance: FakeInstance) -> None:
    async with console(instance, view="webhooks", size=(160, 36)) as shown:
        assert "● ok" in shown.line("shop")
        assert "message.created" in shown.line("shop")
        assert " 2 " in shown.line("w-crm")
        assert "timed out" not in shown.text
        await shown.press("down")
        assert " 8 " in shown.line("timed out")


async def test_dead_deliveries_that_are_read_late_do_not_replace_those_of_the_webhook_chosen_since(
    instance: FakeInstance,
) -> None:
    async with console(instance, view="webhooks", size=(160, 36)) as shown:
        instance.delays_s["/webhooks.dead-letters"] = [0.0, 0.0, 2.0]  # two are counted, and those of shop are read
        await shown.press("r", "down")
        await shown.settle(3.0)
        assert instance.delays_s["/webhooks.dead-letters"] == []
        assert " 8 " in shown.line("timed out")


async def test_the_list_has_health_queue_success_and_last_answer(instance: FakeInstance) -> None:
    last = instance.operations.attempt("w-crm", 5, outcome="retry", status=503)
    instance.operations.stats["w-crm"] = {
        "health": "failing",
        "waiting": 1_234,
        "in_flight": 2,
        "oldest_at": "2026-01-01T09:56:00.000Z",
        "retry_at": "2026-01-01T10:01:07.000Z",
        "failing_since": "2026-01-01T08:01:00.000Z",
        "failures": 17,
        "success_rate": 0.25,
        "last_attempt": last,
    }
    async with console(instance, view="webhooks", size=(160, 36)) as shown:
        line = shown.line("w-crm")
        for part in ("▲ failing", " 1,234 ", " 5 min ", " 25% ", "503 40 ms"):
            assert part in line, part
        await shown.press("down")
        assert "failing for 2 h, 17 failures · 2 in flight · next retry in 7.0 s" in shown.text
        await shown.press("slash", *"failing", "enter")
        assert "w-shop" not in shown.text


async def test_a_shows_the_attempts_of_the_webhook_and_enter_one_of_them(instance: FakeInstance) -> None:
    instance.operations.attempt("w-crm", 1, response="thanks")
    instance.operations.attempt("w-crm", 2, attempt=3, outcome="retry", status=None, error="connection refused")
    async with console(instance, view="webhooks") as shown:
        await shown.press("down", "a")
        assert "✓ delivered" in shown.line("thanks")
        line = shown.line("connection refused")
        assert "↻ retry" in line
        assert "no answer" in line
        await shown.press("tab", "enter")
        assert '"error": "connection refused"' in shown.text
        await shown.press("escape", "c")
        assert "/webhooks.attempts" in shown.app.clipboard
        await shown.press("a")
        assert "timed out" in shown.text


async def test_t_sends_a_test_event_and_says_what_the_endpoint_answered(instance: FakeInstance) -> None:
    async with console(instance, view="webhooks", writes=True) as shown:
        await shown.press("t")
        await shown.settle(0.5)
        assert instance.operations.written == [("/webhooks.test", {"id": "w-shop"})]
        assert "shop answered 200 in 40 ms: thanks" in shown.text
        assert "✓ delivered" in shown.line("webhook.test")
        instance.operations.test_answer = {"status": None, "outcome": "failed", "error": "10.0.0.1 is private"}
        await shown.press("down", "t")
        await shown.settle(0.5)
        assert "crm did not answer: 10.0.0.1 is private" in shown.text


async def test_enter_shows_the_body_of_a_dead_delivery(instance: FakeInstance) -> None:
    async with console(instance, view="webhooks") as shown:
        await shown.press("down", "tab", "down", "enter")
        assert '"text": "body 1"' in shown.text
        await shown.press("c")
        assert "/webhooks.dead-letters" in shown.app.clipboard


async def test_one_dead_delivery_is_replayed_from_its_table(instance: FakeInstance) -> None:
    async with console(instance, view="webhooks", writes=True) as shown:
        await shown.press("down", "tab", "p")
        assert "Send message.created to crm again" in shown.text
        await shown.press("y")
        await shown.settle(0.5)
        assert instance.operations.written == [("/webhooks.replay", {"delivery_id": "w-crm-0"})]
        assert "answered 500" not in shown.text
        assert "timed out" in shown.text


async def test_all_of_a_webhook_are_replayed_from_the_table_of_webhooks(instance: FakeInstance) -> None:
    async with console(instance, view="webhooks", writes=True) as shown:
        await shown.press("down", "p")
        assert "Send the 2 dead deliveries of crm again?" in shown.text
        await shown.press("y")
        await shown.settle(0.5)
        assert instance.operations.deliveries == {}
        assert "no dead deliveries" in shown.text


async def test_o_unsubscribes_and_subscribes_again(instance: FakeInstance) -> None:
    async with console(instance, view="webhooks", writes=True) as shown:
        await shown.press("o")
        assert "Unsubscribe shop?" in shown.text
        await shown.press("y")
        await shown.settle(0.5)
        assert "○ unsubscribed" in shown.line("w-shop")
        await shown.press("o", "y")
        await shown.settle(0.5)
        assert "● ok" in shown.line("w-shop")


@pytest.mark.parametrize("key", ["p", "o", "t"])
async def test_a_read_only_console_changes_no_webhook(instance: FakeInstance, key: str) -> None:
    async with console(instance, view="webhooks") as shown:
        await shown.press("down", key)
        assert "start it with --write" in shown.text
        assert instance.operations.written == []
