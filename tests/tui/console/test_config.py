"""Config: sections with their state, a form with help, a plan, and its application; nothing written is lost."""

import pytest

from airy.http_client import Response
from airy.tui.console.config import rows
from tests.kit.console import OpenConsole, console
from tests.kit.event_loops import asyncio_backend
from tests.kit.fake_configuration import FakeConfiguration
from tests.kit.fake_instance import FakeInstance

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])
CONFLICT = (
    b'{"message": "the configuration or airy.yaml changed since this plan was made", "code": "conflict", "fields": []}'
)


@pytest.fixture
def instance() -> FakeInstance:
    return FakeInstance()


@pytest.fixture
def configuration(instance: FakeInstance) -> FakeConfiguration:
    return instance.operations.configuration


async def opened(shown: OpenConsole, section: str) -> None:
    """The form of a section."""
    await shown.press("slash", *section, "enter", "enter")


async def test_sections_are_listed_with_state_and_number_of_settings(instance: FakeInstance) -> None:
    async with console(instance, view="config") as shown:
        assert "airy.yaml" in shown.text
        assert "● ready" in shown.line("sources-facebook")
        assert "▲ not ready" in shown.line("sources-viber")
        assert "○ disabled" in shown.line("sources-telegram")
        assert " 1 " in shown.line("the HTTP server")


async def test_a_field_has_its_help_its_default_and_why_it_is_locked(instance: FakeInstance) -> None:
    async with console(instance, view="config") as shown:
        await opened(shown, "http")
        assert "address to listen on" in shown.text
        assert "default: 127.0.0.1" in shown.line("host")
        assert "set by AIRY_PORT" in shown.line("port")
        await shown.press("down", "down")
        assert "1024 to 2000000 bytes" in shown.text


async def test_a_secret_shows_only_that_it_is_given_and_a_blank_one_is_not_sent(instance: FakeInstance) -> None:
    async with console(instance, view="config", writes=True) as shown:
        await opened(shown, "sources-facebook")
        assert "${FACEBOOK_SECRET}  (blank keeps it, ^d removes it)" in shown.line("appSecret")
        await shown.press("down", "down", "down", *"entered-secret")
        assert "entered-secret" not in shown.text
        await shown.press("ctrl+s")
        assert "+ *****" in shown.text
        await shown.press("a")
        _, body = instance.operations.written[0]
        assert body["components"] == [{"name": "sources-facebook", "data": {"webhookSecret": "entered-secret"}}]


async def test_a_secret_is_removed_and_a_value_goes_back_to_its_default_with_a_key(instance: FakeInstance) -> None:
    async with console(instance, view="config", writes=True) as shown:
        await opened(shown, "sources-facebook")
        await shown.press("down", "ctrl+d", "down", "ctrl+d")
        assert "to be removed" in shown.line("appSecret")
        await shown.press("ctrl+s", "a")
        _, body = instance.operations.written[0]
        assert body["components"] == [{"name": "sources-facebook", "data": {"appId": None, "appSecret": None}}]


async def test_a_plan_shows_both_values_and_what_restarts_and_is_applied_once_confirmed(
    instance: FakeInstance, configuration: FakeConfiguration
) -> None:
    configuration.others = [{"instance": "two:8080", "url": None, "components": []}]
    async with console(instance, view="config", writes=True) as shown:
        await opened(shown, "sources-telegram")
        await shown.press("space", "down", *"http://sim", "enter")
        assert shown.text.index("- false") < shown.text.index("+ true") < shown.text.index("+ http://sim")
        assert "The process reloads, with api-admin, sources-facebook." in shown.text
        assert "Restart by hand, it does not reload: two:8080" in shown.text
        assert instance.operations.written == []
        await shown.press("a")
        await shown.settle(0.5)
        change = {"name": "sources-telegram", "data": {"enabled": True, "apiUrl": "http://sim"}}
        assert instance.operations.written == [
            ("/components.update", {"components": [change], "fingerprint": "1"}),
        ]
        assert "the last change is applied" in shown.text


async def test_a_component_is_switched_off_with_a_key_and_one_that_is_always_there_is_not(
    instance: FakeInstance,
) -> None:
    async with console(instance, view="config", writes=True) as shown:
        await shown.press("e")
        assert "cannot be switched" in shown.text
        await shown.press("slash", *"sources-viber", "enter", "e")
        assert "+ false" in shown.text
        await shown.press("a")
        change = {"name": "sources-viber", "enabled": False}
        written = {"components": [change], "fingerprint": "1"}
        assert instance.operations.written == [("/components.update", written)]


async def test_a_problem_stands_at_its_field_which_has_the_focus_and_keeps_what_was_written(
    instance: FakeInstance, configuration: FakeConfiguration
) -> None:
    configuration.problems["http.bodyBytesMax"] = "expected a whole number from 1024 to 2000000, found the number 7"
    async with console(instance, view="config", writes=True) as shown:
        await opened(shown, "http")
        await shown.press(*"::1", "down", "down", "7", "ctrl+s")
        lines = shown.text.splitlines()
        at = next(number for number, line in enumerate(lines) if "bodyBytesMax" in line)
        assert "7" in lines[at]
        assert "expected a whole number" in lines[at + 1]
        assert "::1" in shown.line("host")
        assert shown.app.focused is not None
        assert shown.app.focused.id == "field-3"


async def test_a_change_in_between_is_said_in_the_form_which_stays_as_it_was(instance: FakeInstance) -> None:
    instance.refusals["/components.update"] = Response(409, {}, CONFLICT)
    async with console(instance, view="config", writes=True) as shown:
        await opened(shown, "status")
        await shown.press(*"7.5", "ctrl+s", "a")
        assert "changed since this plan was made" in shown.text
        assert "7.5" in shown.line("heartbeatIntervalS")


async def test_a_read_only_console_sees_form_and_plan_and_applies_nothing(instance: FakeInstance) -> None:
    async with console(instance, view="config") as shown:
        await opened(shown, "status")
        await shown.press(*"7.5", "ctrl+s")
        assert "+ 7.5" in shown.text
        await shown.press("a")
        assert "start it with --write" in shown.text
        assert instance.operations.written == []


async def test_the_view_says_why_nothing_can_be_applied_and_how_the_last_change_went(
    instance: FakeInstance, configuration: FakeConfiguration
) -> None:
    configuration.refused = "/etc/airy is read-only"
    configuration.last_change = {"at": "2026-01-01T00:00:00Z", "state": "reverted", "problem": "port 81 is in use"}
    async with console(instance, view="config", writes=True) as shown:
        assert "read-only here: /etc/airy is read-only" in shown.text
        assert "was taken back: port 81 is in use" in " ".join(shown.text.split())
        await shown.press("p")
        assert "Nothing changes." in shown.text
        assert "cannot be applied here" in shown.text


async def test_a_change_has_only_what_was_changed() -> None:
    settings = (
        rows.ListedSetting("a", "x.a", "text", "old", is_set=True, default="d"),
        rows.ListedSetting("b", "x.b", "number", 5, default=5),
        rows.ListedSetting("c", "x.c", "secret", is_set=True),
        rows.ListedSetting("d", "x.d", "switch", True, default=True),
        rows.ListedSetting("e", "x.e", "text", reference="${E}"),
    )
    section = rows.ListedSection("x", "x", "", settings)
    same = {"a": "old", "b": "", "c": "", "d": True, "e": "${E}"}
    assert rows.change(section, same) == {}
    assert rows.change(section, {**same, "a": " ", "b": "7", "c": "s", "d": False, "e": ""}) == {
        "a": None,
        "b": "7",
        "c": "s",
        "d": False,
        "e": None,
    }
