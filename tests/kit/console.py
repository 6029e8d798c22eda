"""The console over a fake instance, at any size, in virtual time."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from unittest.mock import patch

import anyio
from rich.cells import cell_len
from textual import _time
from textual.events import Key
from textual.pilot import Pilot

from airy.api_client import ApiClient
from airy.tui.console.app import ConsoleApp
from airy.tui.console.event_feed import EventFeed
from airy.tui.console.session import Session
from tests.kit.event_script import EventScript
from tests.kit.fake_instance import FakeInstance

URL = "http://127.0.0.1:8080"
SIZE = (120, 36)


class OpenConsole:
    """A console under test. `settle` lets it read and draw."""

    def __init__(self, app: ConsoleApp, pilot: Pilot[None], instance: FakeInstance, events: EventScript) -> None:
        self.app = app
        self.pilot = pilot
        self.instance = instance
        self.events = events

    async def settle(self, seconds: float = 0.3) -> None:
        """Let virtual time pass: it jumps only while every task waits, so all that was asked for is done and drawn."""
        await anyio.sleep(seconds)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    async def press_at_once(self, *keys: str) -> None:
        """Keys that arrive together, as from a fast typist over a slow connection."""
        for key in keys:
            self.app.post_message(Key(key, key if len(key) == 1 else None))
        await self.settle()

    async def click(self, words: str) -> None:
        """On the first place of the screen that shows these words."""
        y, line = next((y, line) for y, line in enumerate(self.text.splitlines()) if words in line)
        await self.pilot.click(offset=(cell_len(line[: line.index(words)]) + 1, y))
        await self.settle()

    @property
    def text(self) -> str:
        """What is on the screen, a line per row."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)

    @property
    def shown_view(self) -> str:
        """The name of the view."""
        view = self.app.shown_view()
        return view.NAME if view else ""

    def line(self, part: str) -> str:
        """The first line on the screen that contains `part`."""
        return next((line for line in self.text.splitlines() if part in line), "")


@contextmanager
def coloured() -> Iterator[None]:
    """Textual draws without colours where NO_COLOR asks for it, as in CI."""
    with patch.dict(os.environ):
        os.environ.pop("NO_COLOR", None)
        yield


@asynccontextmanager
async def console(
    instance: FakeInstance,
    *,
    view: str = "overview",
    writes: bool = False,
    theme: str = "night",
    size: tuple[int, int] = SIZE,
) -> AsyncIterator[OpenConsole]:
    with coloured(), patch.object(_time, "get_time", anyio.current_time):  # Textual's timers read the machine's clock
        async with _console(instance, view=view, writes=writes, theme=theme, size=size) as opened:
            yield opened


@asynccontextmanager
async def _console(
    instance: FakeInstance, *, view: str, writes: bool, theme: str, size: tuple[int, int]
) -> AsyncIterator[OpenConsole]:
    events = EventScript()
    session = Session(ApiClient(instance, URL, None), EventFeed(events), writes=writes)
    app = ConsoleApp(session, first=view, theme=theme)
    async with app.run_test(size=size, notifications=True) as pilot:
        opened = OpenConsole(app, pilot, instance, events)
        await opened.settle(0.5)
        yield opened
