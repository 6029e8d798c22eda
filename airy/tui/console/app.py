"""The application: opens views by key, takes the events of each frame to the shown view, and holds the theme."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import ClassVar

import anyio
from textual import work
from textual.binding import Binding, BindingType

from airy.tui.console.event_feed import ShownEvent
from airy.tui.console.help_screen import Help
from airy.tui.console.key_order import KeyOrder
from airy.tui.console.navigation import BY_NAME, VIEWS
from airy.tui.console.palette import PaletteCommands
from airy.tui.console.session import Session
from airy.tui.console.themes import THEMES
from airy.tui.console.view import ConsoleView

RECENT_MAX = 5_000
FRAME_S = 0.1  # events are shown at most ten times a second


class ConsoleApp(KeyOrder):
    TITLE = "airy"
    CSS_PATH = "console.tcss"
    COMMANDS = {PaletteCommands}  # noqa: RUF012 - Textual's own declaration
    COMMAND_PALETTE_BINDING = "ctrl+p"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(entry.key, f"open_view('{entry.name}')", entry.title, show=False) for entry in VIEWS),
        Binding("colon", "command_palette", "commands", show=False),  # not in a field, where it is a letter
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(
        self,
        session: Session,
        *,
        first: str = "overview",
        theme: str = "night",
        now_s: Callable[[], float] = anyio.current_time,
    ) -> None:
        super().__init__()
        self.session = session
        self.now_s = now_s
        self._first = first
        self._theme_name = theme
        self._resyncs = 0
        self.traced: dict[str, str] = {}  # what the view of a trace shows when it is opened
        self.recent: deque[ShownEvent] = deque(maxlen=RECENT_MAX)  # events, whichever view was shown

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.use_theme(self._theme_name)
        for entry in VIEWS:
            self.add_mode(entry.name, entry.open)
        self.follow_events()
        self.set_interval(FRAME_S, self.show_events)
        self.call_later(self.open_view, self._first)

    @work(group="feed", exit_on_error=True)
    async def follow_events(self) -> None:
        await self.session.feed.run()

    def show_events(self) -> None:
        """One frame."""
        feed = self.session.feed
        events, view = feed.take(), self.shown_view()
        self.recent.extend(events)
        if view is None:
            return
        if feed.resyncs > self._resyncs:
            self._resyncs = feed.resyncs
            view.reload()
        if events:
            view.on_events(events)

    def shown_view(self) -> ConsoleView | None:
        """The view below any dialog."""
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, ConsoleView)), None)

    async def open_view(self, name: str) -> None:
        await self.switch_mode(name)

    async def trace(self, **wanted: str) -> None:
        self.traced = wanted
        await self.open_view("trace")

    async def action_open_view(self, name: str) -> None:
        await self.open_view(name)

    def use_theme(self, name: str) -> None:
        self.theme = f"airy-{name}"

    def keys_of_view(self) -> Iterator[tuple[str, str, str]]:
        """Key, words and action of every binding of the shown view."""
        view = self.shown_view()
        if view is None:
            return
        for binding in view.key_bindings():
            if view.check_action(binding.action, ()):
                yield self.get_key_display(binding), binding.description, binding.action

    async def act(self, action: str) -> None:
        view = self.shown_view()
        if view is not None:
            await view.run_action(action)

    async def action_help(self) -> None:
        view = self.shown_view()
        title = BY_NAME[view.NAME].title if view else "Console"
        keys = [(key, words) for key, words, _ in self.keys_of_view()]
        views = [(entry.key, f"open {entry.title.lower()}") for entry in VIEWS]
        common = [(":", "commands"), ("Tab", "next field, or complete a filter"), ("Esc", "close, clear the filter")]
        await self.push_screen(Help(f"Keys: {title}", [*keys, *views, *common, ("?", "this help"), ("q", "quit")]))
