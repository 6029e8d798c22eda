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
    async with console(instance, view="webhooks") as shown:
        assert "● Subscribed" in shown.line("shop")
        assert "message.created" in shown.line("shop")
        assert " 2 " in shown.line("w-crm")
        assert "timed out" not in shown.text
        await shown.press("down")
        assert " 8 " in shown.line("timed out")


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
        assert "○ Unsubscribed" in shown.line("w-shop")
        await shown.press("o", "y")
        await shown.settle(0.5)
        assert "● Subscribed" in shown.line("w-shop")


@pytest.mark.parametrize("key", ["p", "o"])
async def test_a_read_only_console_changes_no_webhook(instance: FakeInstance, key: str) -> None:
    async with console(instance, view="webhooks") as shown:
        await shown.press("down", key)
        assert "start it with --write" in shown.text
        assert instance.operations.written == []
