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
        assert "… pending" in shown.line("← Yes!"), shown.text

        instance.receipt("c-ada", "sent-2", "read")
        shown.events.append("message.updated")
        await shown.settle(1.0)
        assert "● read" in shown.line("← Yes!")


async def test_a_notification_hides_neither_the_newest_message_nor_the_field(instance: FakeInstance) -> None:
    async with console(instance, view="conversations", writes=True, size=(80, 24)) as shown:
        await shown.press("i", *"Yes!", "enter", *"and")
        await shown.settle(0.5)
        assert "sent to the log" in shown.text
        assert "and" in shown.text.splitlines()[-2]


async def test_a_thread_that_is_read_late_does_not_replace_the_one_chosen_since(instance: FakeInstance) -> None:
    async with console(instance, view="conversations") as shown:
        instance.delays_s["/messages.list"] = [2.0]  # that of Bob
        await shown.press("r", "down")
        await shown.settle(3.0)
        assert instance.delays_s["/messages.list"] == []
        assert "Is the rye bread back?" in shown.line("→")


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


@pytest.mark.parametrize("key", ["i", "o", "m", "t", "T", "R"])
async def test_a_read_only_console_changes_nothing(instance: FakeInstance, key: str) -> None:
    async with console(instance, view="conversations") as shown:
        await shown.press(key)
        assert "start it with --write" in shown.text
        assert instance.written == []


async def test_an_answer_goes_to_the_contact_it_was_begun_for_when_the_list_changes(instance: FakeInstance) -> None:
    async with console(instance, view="conversations", writes=True) as shown:
        await opened(shown, "Ada Lovelace")
        await shown.press("i", *"Yes!")
        instance.unlisted.add("c-ada")  # read by another agent: the filter does not match it any more
        shown.events.append("conversation.updated")
        await shown.settle(1.0)
        assert table(shown.app) == ["c-bob"]
        assert "Ada Lovelace" in shown.text.splitlines()[1]
        await shown.press("enter")
        await shown.settle(0.5)
        assert [body["conversation_id"] for _, body in instance.written] == ["c-ada"]

        await shown.press("escape")
        assert "Bob Noyce" in shown.text.splitlines()[1]


async def test_an_answer_that_could_not_be_sent_is_in_the_field_again(instance: FakeInstance) -> None:
    async with console(instance, view="conversations", writes=True) as shown:
        instance.refuse("/messages.send", 403, "forbidden")
        await shown.press("i", *"Yes!", "enter")
        await shown.settle(0.5)
        assert "Yes!" in shown.text.splitlines()[-2]
        instance.refusals.clear()
        await shown.press("enter")
        await shown.settle(0.5)
        assert [body["message"]["canonical"]["text"] for _, body in instance.written] == ["Yes!"]


async def test_a_draft_stays_with_its_conversation(instance: FakeInstance) -> None:
    async with console(instance, view="conversations", writes=True) as shown:
        await opened(shown, "Ada Lovelace")
        await shown.press("i", *"half", "escape", "i")
        assert "half" in shown.text
        await shown.click("Bob Noyce")
        await shown.press("i")
        assert "half" not in shown.text
        assert "answer Bob Noyce" in shown.text


async def test_a_key_acts_on_the_row_under_the_cursor_whose_thread_is_not_read_yet(instance: FakeInstance) -> None:
    async with console(instance, view="conversations", writes=True) as shown:
        instance.refuse("/messages.list", 503, "busy")
        await shown.press("down", "m")
        await shown.settle(0.5)
        assert instance.written == [("/conversations.mark-read", {"conversation_id": "c-ada"})]


@pytest.mark.parametrize("key", ["i", "o", "t", "m", "T", "R", "x", "c"])
async def test_without_conversations_every_key_is_harmless(key: str) -> None:
    instance = FakeInstance()
    async with console(instance, view="conversations", writes=True) as shown:
        await shown.press(key)
        await shown.settle(0.5)
        assert instance.written == []
        assert "is required" not in shown.text


async def test_a_long_thread_is_shown_from_its_end_and_stays_there_when_it_is_drawn_narrower(
    instance: FakeInstance,
) -> None:
    for number in range(60):
        instance.message("c-bob", f"n{number}", {"text": f"a longer text that is number {number} of the thread"})
    async with console(instance, view="conversations", size=(80, 24)) as shown:
        assert "number 59" in shown.text
        await shown.press("c")
        await shown.settle(0.5)
        assert " 59 " in shown.text


async def test_tab_completes_a_filter_and_never_leaves_it(instance: FakeInstance) -> None:
    async with console(instance, view="conversations", writes=True) as shown:
        await shown.press("slash", *"disp", "tab", *"ada", "tab", *"o", "backspace", "enter")
        assert "filter: display_name:ada" in shown.text
        assert table(shown.app) == ["c-ada"]
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


async def test_the_contact_beside_a_thread_is_that_of_the_thread_when_the_list_changes(instance: FakeInstance) -> None:
    instance.documents["/contacts.info"] = {"display_name": "Bob Noyce", "organization_name": "Fairchild"}
    async with console(instance, view="conversations") as shown:
        await shown.press("c")
        assert "Fairchild" in shown.text
        instance.unlisted.add("c-bob")
        instance.documents["/contacts.info"] = {"display_name": "Ada", "organization_name": "Analytical Engines"}
        shown.events.append("conversation.updated")
        await shown.settle(1.0)
        assert "Ada Lovelace" in shown.text.splitlines()[1]
        assert "Analytical Engines" in " ".join(shown.text.split())
        assert "Fairchild" not in shown.text


async def test_a_list_that_does_not_show_all_says_so(instance: FakeInstance) -> None:
    async with console(instance, view="conversations") as shown:
        assert "the newest" not in shown.text
        for number in range(120):
            instance.conversation(f"c-{number}", f"Person {number}")
        await shown.press("r")
        await shown.settle(0.5)
        assert "the newest 100 of 122: / finds the others" in shown.text
