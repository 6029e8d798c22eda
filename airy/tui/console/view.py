"""What every view has in common: tabs above, a status line below, a filter, and reading from the instance.

A view that is not shown reads nothing. Shown again, after a `resync` or a reconnect, it reads its data anew.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, ClassVar, TypeVar, cast

import msgspec
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input

from airy.errors import Refused, Unavailable
from airy.tui.console.chrome import StatusLine, Tabs
from airy.tui.console.dialogs import Confirm
from airy.tui.console.event_feed import ShownEvent
from airy.tui.console.filter_field import FilterField
from airy.tui.console.grid import Grid
from airy.tui.console.host import ConsoleHost
from airy.tui.console.session import Session

RELOAD_SOON_S = 0.5

T = TypeVar("T")


class ConsoleView(Screen[None]):
    """Subclasses give `NAME`, `body` and `load`, and may give `on_events` and `apply_filter`."""

    NAME: ClassVar[str]
    RELOAD_S: ClassVar[float | None] = None  # how often `load` is called while the view is shown; None: by events only
    FILTER: ClassVar[str] = ""  # what the filter matches, in words; empty: the view has none
    FILTER_LABEL: ClassVar[str] = "filter"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("r", "reload", "reload"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.filter_text = ""
        self.problem = ""  # why the last `load` failed
        self._timer: Timer | None = None
        self._soon: Timer | None = None

    # --- for subclasses

    def body(self) -> ComposeResult:
        """The widgets between tabs and status line."""
        yield from ()

    async def load(self) -> None:
        """Read what is shown. May raise `Refused` and `Unavailable`."""

    def on_events(self, events: Sequence[ShownEvent]) -> None:
        """Events since the last frame, at most ten times a second, while the view is shown."""

    def apply_filter(self, text: str) -> None:
        """Show what matches `text`; by default the data is read again."""
        self.filter_text = text
        self.reload()

    # --- what all have

    @property
    def host(self) -> ConsoleHost:
        return cast("ConsoleHost", self.app)

    @property
    def session(self) -> Session:
        return self.host.session

    def compose(self) -> ComposeResult:
        yield Tabs(self.NAME)
        yield from self.body()
        if self.FILTER:
            yield self.hidden(FilterField(placeholder=f"{self.FILTER_LABEL}: {self.FILTER}", id="filter"))
        yield StatusLine()

    def on_screen_resume(self) -> None:
        if self.focused is None:
            self.focus_main()
        self.reload()
        if self.RELOAD_S is not None and self._timer is None:
            self._timer = self.set_interval(self.RELOAD_S, self.reload)
        elif self._timer is not None:
            self._timer.resume()

    def on_screen_suspend(self) -> None:
        if self._timer is not None:
            self._timer.pause()

    @work(exclusive=True, group="load", exit_on_error=True)
    async def reload(self) -> None:
        """`load`, with its failure in the status line: what is shown stays, and is marked as old."""
        try:
            await self.load()
        except (Refused, Unavailable) as error:
            self.problem = str(error)
        except msgspec.MsgspecError as error:
            self.problem = f"an answer that this version cannot read: {error}"
        else:
            self.problem = ""
        self.query_one(StatusLine).say(self.problem, self.filter_text)

    @classmethod
    def key_bindings(cls) -> list[Binding]:
        """Its bindings and those that all views have, without Textual's own. Of one key, the view's own."""
        owners = [owner for owner in reversed(cls.__mro__) if issubclass(owner, ConsoleView)]
        given = [binding for owner in owners for binding in owner.__dict__.get("BINDINGS", ())]
        return list({binding.key: binding for binding in given if isinstance(binding, Binding)}.values())

    def reload_soon(self) -> None:
        """`reload` within half a second, however often this is called."""
        if self._soon is None:
            self._soon = self.set_timer(RELOAD_SOON_S, self._reload_now)

    def _reload_now(self) -> None:
        self._soon = None
        self.reload()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Hides keys that do nothing here."""
        return not (action == "filter" and not self.FILTER)

    def action_reload(self) -> None:
        self.reload()

    def action_filter(self) -> None:
        self.open_entry(self.query_one("#filter", Input))

    @staticmethod
    def hidden(entry: Input) -> Input:
        entry.display = False
        return entry

    def open_entry(self, entry: Input) -> None:
        """Show and focus it at once: keys that were pressed already are the first letters of what is written."""
        entry.display = True
        self.set_focus(entry)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "filter":
            self._close_filter(event.input, keep=bool(event.value))
            self.apply_filter(event.value)

    def key_escape(self) -> None:
        if self.FILTER:
            entry = self.query_one("#filter", Input)
            if self.filter_text or entry.display:
                entry.value = ""
                self._close_filter(entry, keep=False)
                self.apply_filter("")

    def _close_filter(self, entry: Input, *, keep: bool) -> None:
        entry.display = keep
        self.focus_main()

    def focus_main(self) -> None:
        """Focus the table, in which the arrow keys move."""
        self.set_focus(next(iter(self.query(Grid)), None))

    @work(group="write")
    async def write(self, question: str, done: str, change: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Ask, change, report, read again. Read-only consoles refuse with the option that is missing."""
        if not self.session.writes:
            self.refuse_write()
            return
        if question and not await self.app.push_screen_wait(Confirm(question)):
            return
        try:
            await change()
        except (Refused, Unavailable) as error:
            self.notify(str(error), severity="error", markup=False)
        else:
            self.notify(done, markup=False)
        self.reload()

    def selected_key(self) -> str | None:
        """The key of the row under the cursor of the first table; None, with a word to the user, if there is none."""
        key = self.query(Grid).first().cursor_key
        if key is None:
            self.notify("nothing is selected", severity="warning")
        return key

    def refuse_write(self) -> None:
        self.notify("this console is read-only: start it with --write", severity="warning")

    async def post(self, path: str, body: object) -> None:
        """A call whose answer does not matter. Raises `Refused`, `Unavailable`."""
        await self.session.call(path, body, object)

    async def tried(self, reading: Awaitable[T]) -> T | None:
        """What `reading` returns; None, with its error shown, if it fails."""
        try:
            return await reading
        except (Refused, Unavailable) as error:
            self.notify(str(error), severity="error", markup=False)
            return None
