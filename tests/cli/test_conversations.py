"""`airy conversations` and `airy messages`"""

import pytest

from tests.kit.command_line import CommandLine, matches_golden

ONE, TWO = "c-1", "c-2"


@pytest.fixture(autouse=True)
def stored(airy: CommandLine) -> None:
    instance = airy.instance
    instance.conversation(ONE, "Ada Brown", unread=2)
    instance.message(ONE, "m-1", {"text": "Is the \x1b[31mlamp\x1b[0m still there?"})
    instance.message(ONE, "m-2", {"text": "Yes"}, from_contact=False, state="failed", metadata={"error": "blocked"})
    instance.conversation(TWO, "中村 さくら", source="telegram")
    instance.directory.tag("t-1", "urgent")


def test_conversations_are_listed_latest_activity_first(airy: CommandLine) -> None:
    assert matches_golden("conversations-list", airy("conversations", "list").out)
    assert [each["id"] for each in airy.json("conversations", "conversations", "list")] == [TWO, ONE]
    assert airy.json("conversation", "conversations", "show", ONE)["state_version"] == 0
    assert matches_golden("conversations-show", airy("conversations", "show", ONE).out)


def test_a_filter_selects_and_no_match_is_said_in_words(airy: CommandLine) -> None:
    assert [each["id"] for each in airy.json("conversations", "conversations", "list", "--filter", "name:brown")] == [
        ONE
    ]
    nothing = airy("conversations", "list", "--filter", "name:lovelace")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "no conversations\n")


def test_a_long_list_is_read_page_by_page(airy: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airy.cli.client.PAGE_SIZE_MAX", 2)
    for number in range(5):
        airy.instance.conversation(f"d-{number}", "Bob")

    some = airy("conversations", "list", "--limit", "3", "-o", "ndjson")
    assert len(some.out.splitlines()) == 3
    assert some.err == "3 of 7 conversations; --limit 0 prints all\n"
    assert airy.instance.asked["/conversations.list"] == 2
    every = airy("conversations", "list", "--limit", "0", "-o", "ndjson")
    assert (len(every.out.splitlines()), every.err) == (7, "")


def test_conversations_change(airy: CommandLine) -> None:
    tagged = airy.json("outcomes", "conversations", "tag", ONE, TWO, "--tag", "urgent")
    assert tagged == [{"id": ONE, "result": "tagged"}, {"id": TWO, "result": "tagged"}]
    shown = airy.json("conversation", "conversations", "show", ONE)
    assert shown["metadata"]["tags"] == {"t-1": ""}
    airy("conversations", "untag", ONE, "--tag", "t-1")
    airy("conversations", "state", ONE, "--set", "CLOSED")
    airy("conversations", "read", ONE)
    shown = airy.json("conversation", "conversations", "show", ONE)
    assert shown["metadata"] == {
        "contact": {"display_name": "Ada Brown"},
        "unread_count": 0,
        "tags": {},
        "state": "CLOSED",
    }
    assert airy("conversations", "state", ONE, "--remove").out == "ID   RESULT\nc-1  state removed\n"


def test_what_cannot_be_changed_is_said_after_what_was(airy: CommandLine) -> None:
    printed = airy("conversations", "read", ONE, "nowhere", TWO, "--json")

    assert (printed.code, printed.json) == (66, [{"id": ONE, "result": "read"}])
    assert "there is no conversation nowhere" in printed.err


@pytest.mark.parametrize("arguments", [["--set", "X", "--remove"], []])
def test_a_state_is_either_set_or_removed(airy: CommandLine, arguments: list[str]) -> None:
    assert airy("conversations", "state", ONE, *arguments).code == 64


def test_messages_are_listed_newest_first(airy: CommandLine) -> None:
    assert matches_golden("messages-list", airy("messages", "list", ONE).out)
    assert [each["id"] for each in airy.json("messages", "messages", "list", ONE)] == ["m-2", "m-1"]
    assert matches_golden("messages-show", airy("messages", "show", "m-2").out)
    assert airy.json("message", "messages", "show", "m-1")["from_contact"]


@pytest.mark.parametrize(
    ("arguments", "content"),
    [
        (["--text", "Yes"], {"canonical": {"type": "text", "text": "Yes"}}),
        (["--canonical", '{"type": "text"}'], {"canonical": {"type": "text"}}),
        (["--content", '{"text": "Yes"}'], {"text": "Yes"}),
    ],
)
def test_a_message_is_sent(airy: CommandLine, arguments: list[str], content: object) -> None:
    sent = airy.json("message", "messages", "send", ONE, *arguments)

    assert sent["delivery_state"] == "pending"
    assert airy.instance.written == [("/messages.send", {"conversation_id": ONE, "message": content})]


@pytest.mark.parametrize(
    "arguments",
    [[ONE], [ONE, "--text", "a", "--content", "{}"], ["--text", "a"], [ONE, "--channel", "c", "--text", "a"]],
)
def test_a_message_has_one_content_and_one_recipient(airy: CommandLine, arguments: list[str]) -> None:
    assert airy("messages", "send", *arguments).code == 64
    assert airy.instance.asked == {}


def test_messages_are_sent_again_and_cancelled(airy: CommandLine) -> None:
    assert airy.json("outcomes", "messages", "resend", "m-2") == [{"id": "m-2", "result": "queued again"}]
    assert airy.json("message", "messages", "show", "m-2")["delivery_state"] == "pending"
    assert airy.json("outcomes", "messages", "cancel", "m-2") == [{"id": "m-2", "result": "cancelled"}]
