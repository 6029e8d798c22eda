"""The screen: fits its terminal, shows states without colour, and prints lines that can be pasted."""

import json
import shlex

import pytest
from rich.cells import cell_len

from airy.secret import Secret
from airy.tui.screen import STATES, WIDTH_MIN, curl_examples, draw
from airy.tui.view_model import ConversationRow, MessageRow, ReadinessView, ViewModel

URL = "http://127.0.0.1:8080"


def model(lines: tuple[MessageRow, ...] = (), *, rows: int = 1) -> ViewModel:
    conversation = ConversationRow("c", "Ada Lovelace", "facebook", 3, "10:00:00", lines)
    return ViewModel((conversation,) * rows, 12, ReadinessView(ready=True), (("messages", 1234),))


def test_the_head_has_health_and_counts() -> None:
    assert draw(model(), width=80, height=24).plain.splitlines()[0] == (
        "Airy ready · 12 conversations · 1,234 messages"
    )


@pytest.mark.parametrize("state", STATES)
def test_each_state_has_its_own_symbol_and_word(state: str) -> None:
    line = MessageRow("m", inbound=False, text="hello", state=state, at="10:00:01")
    shown = draw(model((line,)), width=80, height=24).plain

    assert f"← hello  {STATES[state][0]} {state}" in shown
    assert len({symbol for symbol, _ in STATES.values()}) == len(STATES)


def test_a_failure_shows_its_reason_and_inbound_messages_an_arrow() -> None:
    lines = (
        MessageRow("m", inbound=True, text="hello", state="", at="10:00:01"),
        MessageRow("n", inbound=False, text="hi", state="failed", at="10:00:02", error="outside the window"),
    )
    shown = draw(model(lines), width=80, height=24).plain.splitlines()

    assert shown[2] == "10:00:00  Ada Lovelace  facebook  3 unread"
    assert shown[3] == "  10:00:01  → hello"
    assert shown[4] == "  10:00:02  ← hi  ✗ failed: outside the window"


def test_a_message_that_waits_shows_its_last_error_and_its_next_attempt() -> None:
    waits = MessageRow("m", False, "hi", "pending", "10:00:02", error="busy", attempts=2, next_at="10:00:09")
    shown = draw(model((waits,)), width=80, height=24).plain.splitlines()

    assert shown[3] == "  10:00:02  ← hi  … pending, attempt 3 at 10:00:09: busy"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 8), (10, 3), (200, 60)])
def test_nothing_is_wider_or_higher_than_the_terminal(width: int, height: int) -> None:
    long = MessageRow("m", inbound=False, text="汉字 " * 100, state="delivered", at="10:00:01")
    shown = draw(model((long,) * 4, rows=8), width=width, height=height, foot="x" * 300).plain.splitlines()

    assert max(map(cell_len, shown)) <= max(width, WIDTH_MIN)
    assert len(shown) <= max(height, 5)


def test_the_state_of_a_long_message_stays_visible() -> None:
    long = MessageRow("m", inbound=False, text="word " * 100, state="read", at="10:00:01")

    assert draw(model((long,)), width=60, height=24).plain.splitlines()[-1].endswith("…  ● read")


def test_markup_in_a_message_is_text() -> None:
    rich = MessageRow("m", inbound=True, text="[bold red]not styled[/]", state="", at="10:00:01")

    assert "[bold red]not styled[/]" in draw(model((rich,)), width=80, height=24).plain


def test_an_unreachable_instance_is_shown_first() -> None:
    shown = draw(ViewModel(unreachable="connection refused"), width=80, height=24).plain.splitlines()

    assert shown[0] == "Airy not reachable: connection refused"
    assert shown[2] == "no conversation yet"


def test_example_commands_are_whole_lines_with_the_token() -> None:
    listed = dict(curl_examples(URL, Secret("t0ken"), "c-1"))

    words = shlex.split(listed["send a reply"])
    assert words[:3] == ["curl", "-sS", f"{URL}/messages.send"]
    assert "Authorization: Bearer t0ken" in words
    assert json.loads(words[-1]) == {"conversation_id": "c-1", "message": {"text": "Hello from the terminal"}}
    assert list(listed) == ["list conversations", "list its messages", "send a reply"]
    assert not any("\n" in line for line in listed.values())
    assert "Authorization" not in "".join(dict(curl_examples(URL, None, "c")).values())
