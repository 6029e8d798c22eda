"""Channels: listed with their health, connected by a form made from the API's description, disconnected."""

import pytest
from textual.widgets import Input

from tests.kit.console import console
from tests.kit.event_loops import asyncio_backend
from tests.kit.fake_instance import FakeInstance

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])


@pytest.fixture
def instance() -> FakeInstance:
    instance = FakeInstance()
    instance.operations.channel("c-1", "telegram", "Bakery bot")
    known = {"state": "failing", "since": "2026-01-01T00:00:00.000Z", "reason": "the token was revoked"}
    instance.operations.channel("c-2", "facebook", "Bakery page", **known)
    return instance


async def test_a_failing_channel_says_why(instance: FakeInstance) -> None:
    async with console(instance, view="channels") as shown:
        assert "▲ failing" in shown.line("Bakery page")
        assert "the token was revoked" in shown.line("Bakery page")
        assert "● connected" in shown.line("Bakery bot")
        await shown.press("enter")
        assert '"reason": "the token was revoked"' in shown.text


async def test_words_filter_the_list_and_a_channel_is_copied_as_curl(instance: FakeInstance) -> None:
    async with console(instance, view="channels") as shown:
        await shown.press("slash", *"bot", "enter", "c")
        assert "Bakery page" not in shown.text
        assert "/channels.info" in shown.app.clipboard
        assert "c-1" in shown.app.clipboard
        await shown.press("escape")
        assert "Bakery page" in shown.text


async def test_a_channel_that_is_connected_elsewhere_appears(instance: FakeInstance) -> None:
    async with console(instance, view="channels") as shown:
        instance.operations.channel("c-3", "viber", "Bakery viber")
        shown.events.append("channel.updated")
        await shown.settle(1.0)
        assert "● connected" in shown.line("Bakery viber")


async def test_the_form_has_the_fields_of_the_api_and_hides_secrets(instance: FakeInstance) -> None:
    async with console(instance, view="channels", writes=True) as shown:
        await shown.press("n")
        assert "Telegram bot" in shown.text
        await shown.press("enter")
        assert "bot_token *" in shown.text
        assert shown.text.index("bot_token") < shown.text.index("mode")
        await shown.press("enter")
        assert "required: bot_token" in shown.text
        assert isinstance(shown.app.focused, Input)

        await shown.press(*"42:secret", "tab", *"Shop")
        assert "42:secret" not in shown.text
        await shown.press("enter")
        await shown.settle(0.5)
        given = {"bot_token": "42:secret", "mode": "bot", "name": "Shop"}
        assert instance.operations.written == [("/channels.telegram.connect", given)]
        assert "Paste this address" in shown.text
        assert "https://airy.example.net/telegram" in shown.text
        await shown.press("escape")
        assert "● connected" in shown.line("Shop")


async def test_a_channel_shows_when_it_was_last_used_and_the_address_to_paste(instance: FakeInstance) -> None:
    async with console(instance, view="channels", size=(180, 36)) as shown:
        assert ":40:00" in shown.line("Bakery bot")
        assert "https://airy.example.net/telegram" in shown.line("Bakery bot")
        await shown.press("enter")
        assert '"webhook_url": "https://airy.example.net/facebook"' in shown.text


async def test_a_refused_form_stays_with_what_was_written_and_the_error_is_at_its_field(instance: FakeInstance) -> None:
    instance.refuse("/channels.telegram.connect", 400, "Telegram does not know this bot", field="bot_token")
    async with console(instance, view="channels", writes=True) as shown:
        await shown.press("n", "enter")
        await shown.press(*"42:wrong", "tab", *"Shop", "enter")
        await shown.settle(0.5)
        lines = shown.text.splitlines()
        at = next(number for number, line in enumerate(lines) if "bot_token" in line)
        assert "is wrong" in lines[at + 1]
        assert "Telegram does not know this bot" in shown.text
        assert "Shop" in shown.text
        focused = shown.app.focused
        assert isinstance(focused, Input)
        assert focused.value == "42:wrong"
        del instance.refusals["/channels.telegram.connect"]
        await shown.press("enter")
        await shown.settle(0.5)
        assert instance.operations.written == [
            ("/channels.telegram.connect", {"bot_token": "42:wrong", "mode": "bot", "name": "Shop"})
        ]
        assert "Paste this address" in shown.text


async def test_a_disconnect_is_confirmed_and_names_the_channel(instance: FakeInstance) -> None:
    async with console(instance, view="channels", writes=True) as shown:
        await shown.press("down", "D")
        assert "Disconnect telegram Bakery bot?" in shown.text
        await shown.press("y")
        await shown.settle(0.5)
        assert instance.operations.written == [("/channels.telegram.disconnect", {"channel_id": "c-1"})]
        assert shown.line("● connected") == ""


@pytest.mark.parametrize("key", ["n", "D"])
async def test_a_read_only_console_changes_no_channel(instance: FakeInstance, key: str) -> None:
    async with console(instance, view="channels") as shown:
        await shown.press(key)
        assert "start it with --write" in shown.text
        assert instance.operations.written == []


async def test_a_channel_of_a_custom_source_is_disconnected_and_one_of_a_source_that_is_off_says_why() -> None:
    instance = FakeInstance()
    instance.operations.channel("c-erp", "erp", "Desk")
    async with console(instance, view="channels", writes=True) as shown:
        instance.refuse("/channels.custom.disconnect", 404, "no such path /channels.custom.disconnect")
        await shown.press("D", "y")
        await shown.settle(0.5)
        assert "/channels.erp.disconnect answered 404" in " ".join(shown.text.split())

        instance.refusals.clear()
        await shown.press("D", "y")
        await shown.settle(0.5)
        assert instance.operations.written == [("/channels.custom.disconnect", {"channel_id": "c-erp"})]
