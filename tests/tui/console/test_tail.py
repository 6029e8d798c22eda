"""Tail shows every event once and in order, keeps a bounded number, and can be filtered, paused and inspected."""

import pytest

from airy.tui.console.line_list import LINES_MAX, LineList
from tests.kit.console import OpenConsole, console
from tests.kit.event_loops import asyncio_backend
from tests.kit.fake_instance import FakeInstance

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])


def message(text: str, *, inbound: bool = True, state: str = "delivered") -> dict[str, object]:
    known = {"id": "m", "sent_at": "2026-01-01T00:00:00Z", "delivery_state": state, "from_contact": inbound}
    return {"conversation_id": "c-1", "message": {**known, "content": {"text": text}}}


def lines(shown: OpenConsole) -> list[str]:
    return [line for line in shown.text.splitlines() if "message." in line]


async def test_events_are_shown_as_they_happen() -> None:
    async with console(FakeInstance(), view="tail") as shown:
        shown.events.append("message.created", message("Is it open?"))
        shown.events.append("message.updated", message("Yes", inbound=False, state="read"))
        await shown.settle()
        first, second = lines(shown)
        assert "→ Is it open?" in first
        assert "← Yes  [read]" in second


async def test_a_filter_takes_and_leaves_out_words() -> None:
    async with console(FakeInstance(), view="tail") as shown:
        for text in ("rye bread", "rye rolls", "spelt"):
            shown.events.append("message.created", message(text))
        await shown.press("slash", *"rye -rolls", "enter")
        assert [line.split("→ ")[1] for line in lines(shown)] == ["rye bread"]
        shown.events.append("message.created", message("rye again"))
        await shown.settle()
        assert [line.split("→ ")[1] for line in lines(shown)] == ["rye bread", "rye again"]
        await shown.press("escape")
        assert len(lines(shown)) == 4


async def test_a_pause_holds_the_lines_and_loses_none() -> None:
    async with console(FakeInstance(), view="tail") as shown:
        await shown.press("space")
        for number in range(3):
            shown.events.append("message.created", message(f"line {number}"))
        await shown.settle()
        assert lines(shown) == []
        assert "paused, 3 more" in shown.text
        await shown.press("space")
        assert [line.split("→ ")[1] for line in lines(shown)] == ["line 0", "line 1", "line 2"]


async def test_events_of_the_time_before_the_view_was_opened_are_shown() -> None:
    instance = FakeInstance()
    async with console(instance, view="overview") as shown:
        shown.events.append("message.created", message("earlier"))
        await shown.settle()
        await shown.press("3")
        assert [line.split("→ ")[1] for line in lines(shown)] == ["earlier"]
        await shown.press("x", "1", "3")
        assert lines(shown) == []


async def test_a_reconnect_neither_loses_nor_repeats_a_line() -> None:
    async with console(FakeInstance(), view="tail") as shown:
        shown.events.append("message.created", message("one"))
        await shown.settle()
        shown.events.cut()
        shown.events.append("message.created", message("two"))
        await shown.settle(10.0)
        assert [line.split("→ ")[1] for line in lines(shown)] == ["one", "two"]


async def test_enter_shows_the_json_of_the_line_under_the_cursor() -> None:
    async with console(FakeInstance(), view="tail") as shown:
        for number in range(3):
            shown.events.append("message.created", message(f"line {number}"))
        await shown.settle()
        await shown.press("up", "enter")
        assert '"text": "line 1"' in shown.text
        await shown.press("c")
        assert "/messages.list" in shown.app.clipboard
        assert "c-1" in shown.app.clipboard
        await shown.press("escape")
        assert len(lines(shown)) == 3


async def test_the_cursor_stays_on_its_line_while_others_arrive_and_end_follows_again() -> None:
    async with console(FakeInstance(), view="tail", size=(100, 12)) as shown:
        for number in range(30):
            shown.events.append("message.created", message(f"line {number}"))
        await shown.settle()
        await shown.press("home")
        shown.events.append("message.created", message("newest"))
        await shown.settle()
        assert "line 0" in lines(shown)[0]
        await shown.press("end")
        assert "newest" in lines(shown)[-1]


async def test_a_bounded_number_of_lines_is_kept() -> None:
    async with console(FakeInstance(), view="tail") as shown:
        for number in range(LINES_MAX + 500):
            shown.events.append("message.created", message(f"line {number}"))
            if number % 1_000 == 0:
                await shown.settle(0.2)
        await shown.settle(2.0)
        assert shown.app.screen.query_one(LineList).virtual_size.height == LINES_MAX
        assert f"line {LINES_MAX + 499}" in lines(shown)[-1]
