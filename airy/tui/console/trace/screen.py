"""Trace: one message from the provider's webhook to the last delivery, as a timeline."""

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import DataTable, Input, Static

from airy.tui.console.event_feed import ShownEvent
from airy.tui.console.grid import Column, Grid
from airy.tui.console.inspect_screen import Inspect, curl
from airy.tui.console.trace import rows
from airy.tui.console.view import ConsoleView
from airy.tui.view_model import ListPage

PATH = "/messages.trace"
TIMELINE = (
    Column("hop", 21),
    Column("at", 12, keep=7),
    Column("after", 7, "right", keep=6),
    Column("", rows.BAR_CELLS, keep=4),
    Column("outcome"),
    Column("in the log", 24, keep=2),
)
HINT = "/ asks for an id: of a message, the provider's, or a conversation's · or x in Conversations, t in Tail"


class TraceView(ConsoleView):
    NAME = "trace"
    FILTER = "id of a message, the provider's, or of a conversation; then a source or channel"
    FILTER_LABEL = "trace"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "trace an id", key_display="/"),
        Binding("enter", "inspect", "show the JSON of a hop"),
        Binding("p", "step(1)", "the message before it"),
        Binding("n", "step(-1)", "the message after it"),
        Binding("c", "copy", "copy as curl"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._wanted: dict[str, str] = {}  # the body of the request; empty: nothing is traced yet
        self._trace: rows.TracedMessage | None = None

    def body(self) -> ComposeResult:
        yield Static(id="trace-title", classes="view-state", markup=False)
        yield Static(id="trace-ids", classes="muted", markup=False)
        yield Grid(TIMELINE, empty="no message is traced", id="timeline")

    def on_screen_resume(self) -> None:
        if self.host.traced:
            self._wanted, self.host.traced = self.host.traced, {}
            self._trace = None
        super().on_screen_resume()

    # --- reading

    async def load(self) -> None:
        if self._wanted:
            self._trace = await self.session.call(PATH, self._wanted, rows.TracedMessage)
        self._show()

    def apply_filter(self, text: str) -> None:
        """What was entered is an id; an empty line leaves what is shown."""
        entry = self.query_one("#filter", Input)
        entry.display, entry.value = False, ""
        if text.strip():
            self._wanted, self._trace = rows.reference(text), None
            self._show()
            self.reload()

    def on_events(self, events: Sequence[ShownEvent]) -> None:
        """A hop may have been added."""
        trace = self._trace
        if trace is not None and any(trace.conversation_id.encode() in event.body for event in events):
            self.reload_soon()

    def _show(self) -> None:
        trace = self._trace
        timeline = self.query_one("#timeline", Grid)
        if trace is None:
            wanted = " ".join(self._wanted.values())
            self.query_one("#trace-title", Static).update(f" {wanted}" if wanted else f" {HINT}")
            self.query_one("#trace-ids", Static).update("")
            timeline.show(())
            return
        said, ids = rows.title(trace)
        self.query_one("#trace-title", Static).update(Content.styled(f" {said}", "bold $primary"))
        self.query_one("#trace-ids", Static).update(f" {ids}")
        timeline.show((str(number), cells(each)) for number, each in enumerate(rows.hop_rows(trace)))

    # --- keys

    async def on_data_table_row_selected(self, _event: DataTable.RowSelected) -> None:
        await self.action_inspect()

    async def action_inspect(self) -> None:
        key = self.selected_key()
        if key and self._trace is not None:
            hop = self._trace.hops[int(key)]
            document = msgspec.to_builtins(hop)
            await self.app.push_screen(Inspect(f"{hop.kind} {rows.place(hop)}", document, self._command()))

    def action_copy(self) -> None:
        if self._wanted:
            self.app.copy_to_clipboard(self._command())
            self.notify("the command, without the token, is on the clipboard of the terminal")

    def _command(self) -> str:
        return curl(self.session.url, PATH, self._wanted)

    async def action_step(self, older: int) -> None:
        """To the message of the conversation before or after this one."""
        trace = self._trace
        if trace is None:
            return
        body = {"conversation_id": trace.conversation_id, "cursor": trace.message_id, "page_size": 1}
        page = await self.tried(self.session.call("/messages.list", body, ListPage))
        cursor = page and page.pagination_data.get("next_cursor" if older > 0 else "previous_cursor")
        if cursor:
            self._wanted = {"message_id": str(cursor)}
            self.reload()
        elif page is not None:
            self.notify("it is the first message" if older > 0 else "it is the last message", severity="warning")


def cells(row: rows.HopRow) -> tuple[Content | str, ...]:
    plain = row.said and row.outcome == "stored"
    outcome = Content("") if plain else Content.styled(f"{row.outcome} ", row.outcome_style)
    return (
        Content.assemble(Content.styled(f"{row.rail} ", row.style), row.name),
        Content.styled(row.at, "$foreground-muted"),
        row.since,
        Content.styled(row.bar, row.style),
        Content.assemble(outcome, row.said),
        Content.styled(row.place, "$foreground-muted"),
    )
