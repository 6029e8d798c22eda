"""The live view: redraws only changes, slows down when idle, appends plain lines outside a terminal, hides nothing."""

import io
import sys
from pathlib import Path

import anyio
import pytest

from airy.client import Client
from airy.tui import live
from airy.tui.live import IDLE_S, TOLD_MAX, Plain, Screen, follow, where_to_look
from airy.tui.picture import Line, Picture, Talk
from airy.tui.poll import Poller
from airy.tui.screen import curls
from tests.kit.instance import Instance

URL = "http://127.0.0.1:8080"


class Surface:
    def __init__(self) -> None:
        self.pictures: list[Picture] = []
        self.told: list[str] = []

    def show(self, picture: Picture) -> None:
        self.pictures.append(picture)

    def tell(self, line: str) -> None:
        self.told.append(line)


async def watched(instance: Instance, surface: live.Surface, seconds: float) -> None:
    with anyio.move_on_after(seconds):
        await follow(Poller(Client(instance, URL, None)), surface, lambda talk: curls(URL, None, talk))


async def test_only_changes_are_shown_and_an_idle_instance_is_asked_less_often() -> None:
    instance, surface = Instance(), Surface()
    instance.conversation("a", "Ada")

    await watched(instance, surface, 60)

    assert len(surface.pictures) == 1
    assert 60 / IDLE_S <= instance.asked["/conversations.list"] <= 60 / IDLE_S + 8


async def test_the_lines_to_paste_come_once_with_the_first_conversation() -> None:
    instance, surface = Instance(), Surface()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watched, instance, surface, 20)
        await anyio.sleep(5)
        assert surface.told == []
        instance.conversation("first", "Ada")
        await anyio.sleep(5)
        instance.conversation("second", "Bob")

    assert len(surface.told) == 3
    assert all("second" not in line for line in surface.told)
    assert '"conversation_id": "first"' in surface.told[1]


async def test_a_pipe_gets_one_plain_line_for_each_message_and_each_step_of_its_delivery() -> None:
    instance, out = Instance(), io.StringIO()
    instance.conversation("a", "Ada")
    surface = Plain(out)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watched, instance, surface, 30)
        instance.message("a", "m1", {"message": {"text": "hello\x1b[31m"}})
        await anyio.sleep(5)
        instance.message("a", "m2", {"text": "hi"}, from_contact=False, state="pending")
        await anyio.sleep(5)
        instance.receipt("a", "m2", "delivered")
        await anyio.sleep(5)
        instance.down = True

    lines = [line for line in out.getvalue().splitlines() if line and not line.startswith(("#", "curl"))]
    assert lines[0] == "ready"
    assert [line[9:] for line in lines[1:4]] == [  # after the time of day
        "→ Ada: hello[31m",
        "← Ada: hi  … pending",
        "← Ada: hi  ✓✓ delivered",
    ]
    assert lines[4] == "not reachable: 127.0.0.1: connection refused"
    assert "\x1b" not in out.getvalue()


def test_what_a_pipe_was_told_is_bounded_and_not_told_again() -> None:
    out = io.StringIO()
    surface = Plain(out)

    def shown(*ids: int) -> Picture:
        lines = tuple(Line(str(each), inbound=True, text="x", state="", at="10:00:00") for each in ids)
        return Picture((Talk("c", "Ada", "facebook", 0, "10:00:00", lines),))

    for number in range(TOLD_MAX * 2):
        surface.show(shown(number))
    told = out.getvalue().count("→")
    surface.show(shown(TOLD_MAX * 2 - 1, TOLD_MAX * 2 - 2))

    assert told == TOLD_MAX * 2 == out.getvalue().count("→")
    assert len(surface._told) == TOLD_MAX


def test_a_terminal_is_left_as_it_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor comes back whatever ends the view; nothing is drawn outside it."""
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    with pytest.raises(ValueError, match="ended"), Screen(out, where_to_look(URL, Path("airy.jsonl"))) as screen:
        screen.tell("# list conversations\ncurl " + "x" * 300)
        screen.show(Picture(conversations=3))
        raise ValueError("ended")

    text = out.getvalue()
    assert "\x1b[?25l" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "curl " + "x" * 300 in text  # one line: what wraps hard cannot be pasted
    assert f"Ctrl-C stops · API {URL}/schema · more: airy status · log airy.jsonl" in text
    assert sys.stdout is not out


def test_a_picture_is_drawn_once_until_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No timer redraws: a screen nobody changes stays as it is."""
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: True)

    with Screen(out) as screen:
        screen.show(Picture(conversations=3))
        size = len(out.getvalue())
        assert screen._live.auto_refresh is False
        assert len(out.getvalue()) == size
