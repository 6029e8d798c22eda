"""Tail: changes as they happen, with a filter, a pause and the JSON of each."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from airy.tui.console.event_feed import ShownEvent
from airy.tui.console.inspect_screen import Inspect, curl
from airy.tui.console.line_list import LINES_MAX, LineList
from airy.tui.console.tail import rows
from airy.tui.console.view import ConsoleView


class TailView(ConsoleView):
    NAME = "tail"
    FILTER = "words that are in the event, -word for one that is not: message.created -delivered"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "pause and go on"),
        Binding("x", "clear", "clear"),
        Binding("t", "trace", "trace the message"),
        Binding("c", "copy", "copy as curl"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._kept: deque[ShownEvent] = deque(maxlen=LINES_MAX)
        self._paused = False
        self._cleared_at: ShownEvent | None = None  # the last event before the view was cleared
        self._waiting = 0  # lines that arrived during the pause

    def body(self) -> ComposeResult:
        yield Static(id="tail-state", markup=False)
        yield LineList(line_content, id="lines")

    def on_screen_resume(self) -> None:
        """What happened while another view was shown is shown too."""
        super().on_screen_resume()
        if not self._paused:
            recent = list(self.host.recent)
            self._kept = deque(recent[self._cleared(recent) :], maxlen=LINES_MAX)
            self._refill()

    def _cleared(self, recent: Sequence[ShownEvent]) -> int:
        """How many of the recent events were there when the view was cleared."""
        return next((number for number, event in enumerate(recent, 1) if event is self._cleared_at), 0)

    async def load(self) -> None:
        self._show_state()

    def on_events(self, events: Sequence[ShownEvent]) -> None:
        self._kept.extend(events)
        matching = self._matching(events)
        if self._paused:
            self._waiting += len(matching)
        else:
            self._lines.append(matching)
        self._show_state()

    def _matching(self, events: Iterable[ShownEvent]) -> list[ShownEvent]:
        return [event for event in events if not self.filter_text or rows.matches(event, self.filter_text)]

    @property
    def _lines(self) -> LineList[ShownEvent]:
        return self.query_one("#lines", LineList)

    def apply_filter(self, text: str) -> None:
        self.filter_text = text
        self._refill()
        self.reload()

    def action_pause(self) -> None:
        self._paused = not self._paused
        if not self._paused:
            self._refill()
        self._show_state()

    def action_clear(self) -> None:
        self._cleared_at = self._kept[-1] if self._kept else self._cleared_at
        self._kept.clear()
        self._refill()
        self._show_state()

    def _refill(self) -> None:
        self._waiting = 0
        self._lines.replace(self._matching(self._kept))

    def focus_main(self) -> None:
        self.set_focus(self._lines)

    async def on_line_list_chosen(self, _event: LineList.Chosen) -> None:
        event = self._lines.selected
        if event is not None:
            title = f"{event.type} {rows.tail_line(event).at}"
            await self.app.push_screen(Inspect(title, event.body, self._command(event)))

    def action_copy(self) -> None:
        event = self._lines.selected
        if event is not None:
            self.app.copy_to_clipboard(self._command(event))
            self.notify("the command, without the token, is on the clipboard of the terminal")

    async def action_trace(self) -> None:
        event = self._lines.selected
        wanted = rows.tail_line(event).traced if event is not None else {}
        if wanted:
            await self.host.trace(**wanted)
        elif event is not None:
            self.notify("the event is about no message", severity="warning")

    def _command(self, event: ShownEvent) -> str:
        """Reads what the event is about."""
        subject = rows.tail_line(event).subject
        if event.type.startswith("message"):
            return curl(self.session.url, "/messages.list", {"conversation_id": subject})
        if event.type.startswith("channel"):
            return curl(self.session.url, "/channels.info", {"channel_id": subject})
        if event.type.startswith("tag"):
            return curl(self.session.url, "/tags.list", {})
        return curl(self.session.url, "/conversations.info", {"conversation_id": subject})

    def _show_state(self) -> None:
        state = tail_state(len(self._kept), paused=self._paused, waiting=self._waiting)
        self.query_one("#tail-state", Static).update(state, layout=False)


def tail_state(kept: int, *, paused: bool, waiting: int) -> Content:
    if paused:
        return Content.styled(f" ⏸ paused, {waiting:,} more: Space goes on ", "bold $background on $warning")
    full = f", the last {LINES_MAX:,} are kept" if kept == LINES_MAX else ""
    events = "event" if kept == 1 else "events"
    return Content.styled(f" {kept:,} {events}{full} · Space pauses, Enter shows the JSON ", "$foreground-muted")


def line_content(event: ShownEvent) -> Content:
    line = rows.tail_line(event)
    return Content.assemble(
        Content.styled(f" {line.at} ", "$foreground-muted"),
        Content.styled(f"{line.symbol} {line.type:<21}", line.style),
        Content.styled(f"{line.subject[:8]:<9}", "$foreground-muted"),
        line.said,
    )
