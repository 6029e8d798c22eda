"""Conversations: a live list, the thread of the chosen one, and everything an agent does with it, by key."""

import pytest

from airy.tui.console.app import ConsoleApp
from tests.kit.console import OpenConsole, console
from tests.kit.event_loops import asyncio_backend
from tests.kit.fake_instance import FakeInstance

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])


@pytest.fixture
def instance() -> FakeInstance:
    instance = FakeInstance()
    instance.conversation("c-ada", "Ada Lovelace", unread=2)
    instance.conversation("c-bob", "Bob Noyce")
    instance.message("c-ada", "m1", {"text": "Is the rye bread back?"})
    instance.message("c-bob", "m2", {"text": "Closed already?"})
    instance.message("c-bob", "m3", {"text": "Until six."}, from_contact=False, state="failed")
    instance.documents["/tags.list"] = {"data": [{"id": "t1", "name": "urgent"}]}
    instance.documents["/templates.list"] = {"data": [{"id": "x1", "name": "Hours", "content": {"text": "Until six"}}]}
    instance.documents["/contacts.info"] = {"display_name": "Bob Noyce", "organization_name": "Fairchild"}
    return instance


def table(app: ConsoleApp) -> list[str]:
    return list(app.screen.query_one("#list").keys)  # type: ignore[attr-defined]


async def opened(shown: OpenConsole, name: str) -> None:
    """Move the cursor to this contact."""
    for _ in range(5):
        if name in shown.text.splitlines()[1]:
            return
        await shown.press("down")
    raise AssertionError(shown.text)


async def test_the_newest_conversation_is_open_and_the_arrows_open_others(instance: FakeInstance) -> None:
    async with console(instance, view="conversations") as shown:
        assert "Until six." in shown.text
        await shown.press("down")
        assert "Is the rye bread back?" in shown.line("→")


async def test_a_message_that_arrives_is_shown_and_the_cursor_stays(instance: FakeInstance) -> None:
    async with console(instance, view="conversations") as shown:
        await opened(shown, "Ada Lovelace")
        instance.message("c-bob", "m4", {"text": "Thanks!"})
        instance.message("c-ada", "m5", {"text": "Hello?"})
        shown.events.append("message.created")
        await shown.settle(1.0)
        assert "Hello?" in shown.line("→ Hello?")
        assert "Ada Lovelace" in shown.text.splitlines()[1]


async def test_an_answer_is_sent_and_its_delivery_state_followed(instance: FakeInstance) -> None:
    async with console(instance, view="conversations", writes=True) as shown:
        await opened(shown, "Ada Lovelace")
        await shown.press("i", *"Yes!", "enter")
        await shown.settle(0.5)
        content = {"canonical": {"type": "text", "text": "Yes!"}}
        assert instance.written == [("/messages.send", {"conversation_id": "c-ada", "message": content})]
        assert "… pending" in shown.line("← Yes!")

        instance.receipt("c-ada", "sent-2", "read")
        shown.events.append("message.updated")
        await shown.settle(1.0)
        assert "● read" in shown.line("← Yes!")


async def test_a_template_is_chosen_and_sent(instance: FakeInstance) -> None:
    async with console(instance, view="conversations", writes=True) as shown:
        await shown.press("T")
        assert "Hours" in shown.text
        await shown.press("enter")
        await shown.settle(0.5)
        assert instance.written == [("/messages.send", {"conversation_id": "c-bob", "message": {"text": "Until six"}})]


async def test_a_change_is_confirmed_and_names_what_will_happen(instance: FakeInstance) -> None:
    async with console(instance, view="conversations", writes=True) as shown:
        await shown.press("o")
        assert "Set the state of the conversation with Bob Noyce to CLOSED?" in shown.text
        await shown.press("n")
        assert instance.written == []

        await shown.press("o", "y")
        await shown.settle(0.5)
        assert "CLOSED" in shown.text.splitlines()[1]


async def test_tags_are_added_and_removed(instance: FakeInstance) -> None:
    async with console(instance, view="conversations", writes=True) as shown:
        await shown.press("t")
        assert "add urgent" in shown.text
        await shown.press("enter")
        await shown.settle(0.5)
        await shown.press("t")
        assert "remove urgent" in shown.text


async def test_marking_as_read_and_sending_again(instance: FakeInstance) -> None:
    async with console(instance, view="conversations", writes=True) as shown:
        await shown.press("R", "y")
        await shown.settle(0.5)
        assert "pending" in shown.line("← Until six.")
        await opened(shown, "Ada Lovelace")
        await shown.press("m")
        await shown.settle(0.5)
        assert [path for path, _ in instance.written] == ["/messages.resend", "/conversations.mark-read"]


@pytest.mark.parametrize("key", ["i", "o", "m"])
async def test_a_read_only_console_changes_nothing(instance: FakeInstance, key: str) -> None:
    async with console(instance, view="conversations") as shown:
        await shown.press(key)
        assert "start it with --write" in shown.text
        assert instance.written == []


async def test_a_filter_is_the_filter_language_with_completion(instance: FakeInstance) -> None:
    async with console(instance, view="conversations") as shown:
        await shown.press("slash", *"displ")
        await shown.press("right")
        await shown.press("backspace", "colon", *"ada", "enter")
        assert table(shown.app) == ["c-ada"]
        assert "filter: display_name:ada" in shown.text
        await shown.press("escape")
        await shown.settle(0.5)
        assert len(table(shown.app)) == 2


async def test_the_contact_is_shown_on_demand(instance: FakeInstance) -> None:
    async with console(instance, view="conversations") as shown:
        assert "Fairchild" not in shown.text
        await shown.press("c")
        assert "Fairchild" in shown.text
        await shown.press("c")
        assert "Fairchild" not in shown.text


async def test_a_filter_the_instance_refuses_is_explained_in_the_status_line(instance: FakeInstance) -> None:
    async with console(instance, view="conversations") as shown:
        instance.pages.discard("/conversations.list")
        await shown.press("r")
        assert "/conversations.list answered 404" in shown.text.splitlines()[-1]
        assert len(table(shown.app)) == 2
