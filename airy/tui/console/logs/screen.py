"""Logs: lines as they are written, by level and words, with all fields of each."""

from collections.abc import Sequence
from typing import Any, ClassVar

from msgspec.structs import asdict
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from airy.errors import Refused, Unavailable
from airy.tui.console.chrome import StatusLine
from airy.tui.console.inspect_screen import Inspect, curl
from airy.tui.console.line_list import LineList
from airy.tui.console.logs import rows
from airy.tui.console.view import ConsoleView
from airy.tui.view_model import clean

PATH = "/logs.list"
LINES_AT_FIRST = 500
LINES_AT_ONCE = 1_000
POLL_S = 1.0
LINES_MAX = 5_000


class LogsView(ConsoleView):
    NAME = "logs"
    FILTER = "words that are in the line"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "inspect", "show all fields"),
        Binding("space", "pause", "pause and go on"),
        Binding("l", "level", "show the next level and worse"),
        Binding("x", "clear", "clear"),
        Binding("c", "copy", "copy as curl"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._level: rows.Level = "info"
        self._positions: dict[str, str] | None = None  # None: nothing is read yet
        self._paused = False
        self._reading = False
        self._lost = 0
        self._kept = 0

    def body(self) -> ComposeResult:
        yield Static(id="logs-state", classes="view-state", markup=False)
        yield LineList(self._line, lines_max=LINES_MAX, id="log-lines")

    def on_mount(self) -> None:
        self.set_interval(POLL_S, self._tick)

    # --- reading

    async def load(self) -> None:
        """The newest lines at first, then what followed: a view that is shown again has no gap."""
        if self._positions is None:
            page = await self._read(limit=LINES_AT_FIRST)
            self._lines.replace(page.data)
            self._kept = len(page.data)
        elif not self._paused:
            await self._read_on()
        self._show_state()

    def _tick(self) -> None:
        if not self._paused and not self._reading and self._positions is not None and self.app.screen is self:
            self._follow()

    @work(exclusive=True, group="load", exit_on_error=True)
    async def _follow(self) -> None:
        try:
            await self._read_on()
        except (Refused, Unavailable) as error:
            self.problem = str(error)
        else:
            self.problem = ""
        self.query_one(StatusLine).say(self.problem, self.filter_text)
        self._show_state()

    async def _read_on(self) -> None:
        """What has been written since."""
        more = True
        while more:
            page = await self._read(positions=self._positions, limit=LINES_AT_ONCE)
            more = page.pagination_data.more
            self._lost += sum(page.pagination_data.lost.values())
            self._lines.append(page.data)
            self._kept = min(LINES_MAX, self._kept + len(page.data))

    async def _read(self, **place: object) -> rows.LinesPage:
        self._reading = True
        try:
            page = await self.session.call(PATH, self._request(**place), rows.LinesPage)
        finally:
            self._reading = False
        self._positions = page.pagination_data.positions
        return page

    def _request(self, **place: object) -> dict[str, Any]:
        request: dict[str, Any] = {"level": self._level, **place}
        return {**request, "words": self.filter_text} if self.filter_text else request

    @property
    def _lines(self) -> LineList[rows.LogLine]:
        return self.query_one("#log-lines", LineList)

    def _anew(self) -> None:
        """Other lines are wanted."""
        self._positions, self._lost = None, 0
        self.reload()

    # --- keys

    def apply_filter(self, text: str) -> None:
        self.filter_text = text
        self._anew()

    def action_level(self) -> None:
        self._level = rows.following(self._level)
        self._anew()

    def action_pause(self) -> None:
        self._paused = not self._paused
        self._show_state()
        self._tick()

    def action_clear(self) -> None:
        self._lines.replace([])
        self._kept = self._lost = 0
        self._show_state()

    def focus_main(self) -> None:
        self.set_focus(self._lines)

    async def on_line_list_chosen(self, _event: LineList.Chosen) -> None:
        await self.action_inspect()

    async def action_inspect(self) -> None:
        line = self._lines.selected
        if line is not None:
            await self.app.push_screen(Inspect(f"{line.event}  {line.time}", asdict(line), self._command()))

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._command())
        self.notify("the command, without the token, is on the clipboard of the terminal")

    def _command(self) -> str:
        return curl(self.session.url, PATH, self._request())

    # --- drawing

    def _show_state(self) -> None:
        line = state_line(self._level, self._kept, list(self._positions or ()), self._lost, paused=self._paused)
        self.query_one("#logs-state", Static).update(line)

    def _line(self, line: rows.LogLine) -> Content:
        return line_content(line, several=len(self._positions or ()) > 1)


def state_line(level: rows.Level, kept: int, processes: Sequence[str], lost: int, *, paused: bool) -> Content:
    """The levels, of which those that are shown are marked, and how many lines there are."""
    least = rows.LEVELS.index(level)
    parts = [
        Content.styled(f" {each} ", "bold $background on $primary" if number >= least else "$foreground-muted")
        for number, each in enumerate(rows.LEVELS)
    ]
    of = f" of {len(processes)} processes" if len(processes) > 1 else ""
    missed = Content.styled(f" {lost:,} were lost ", "$warning") if lost else Content("")
    if paused:
        mode = Content.styled(" ⏸ paused: Space goes on ", "bold $background on $warning")
    else:
        lines = "line" if kept == 1 else "lines"
        mode = Content.styled(f"  {kept:,} {lines}{of} · Space pauses, l next level ", "$foreground-muted")
    return Content.assemble(*parts, mode, missed)


def line_content(line: rows.LogLine, *, several: bool) -> Content:
    """`several`: the name of the process is shown."""
    return Content.assemble(
        Content.styled(f" {rows.time_of_day(line.time)} ", "$foreground-muted"),
        Content.styled(f"{line.level:<8} ", rows.LEVEL_STYLES.get(line.level, "")),
        Content.styled(f"{clean(line.instance, 18):<20}", "$foreground-muted") if several else "",
        f"{clean(line.event, 60):<30} ",
        Content.styled(line.said, "$foreground-muted"),
    )
