"""The records of a topic: older and newer pages, an offset or a time, the end as it grows, the records of a key."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import DataTable, Static

from airy.clock import SystemClock
from airy.tui.console import format as shown
from airy.tui.console.dialogs import Ask
from airy.tui.console.grid import Column, Grid
from airy.tui.console.inspect_screen import Inspect, curl
from airy.tui.console.topics import rows
from airy.tui.console.view import ConsoleView
from airy.tui.view_model import clean

CLOCK = SystemClock()
PATH = "/topics.browse"
PAGE_SIZE = 100
RECORDS_MAX = 1_000  # shown while the end is followed
FOLLOW_S = 1.0
LIST = (
    Column("time", 14, keep=7),
    Column("part", 4, "right", keep=5),
    Column("offset", 8, "right", keep=8),
    Column("key", 12, keep=6),
    Column("size", 7, "right", keep=3),
    Column("value"),
)


class RecordsView(ConsoleView):
    """Above the list of topics; Esc goes back to it."""

    NAME = "topics"
    FILTER = "the key of records, whole"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "inspect", "show the whole record"),
        Binding("o", "older", "older records"),
        Binding("n", "newer", "newer records"),
        Binding("b", "beginning", "go to the beginning"),
        Binding("e", "end", "go to the end"),
        Binding("g", "seek", "go to an offset or a time"),
        Binding("f", "follow", "follow the end, and stop"),
        Binding("p", "partition", "choose a partition"),
        Binding("c", "copy", "copy as curl"),
        Binding("escape", "back", "back to the topics"),
    ]

    def __init__(self, topic: str, partition: int | None = None, offset: int | None = None) -> None:
        """`partition`: None: all. `offset`: of this partition; None: its end."""
        super().__init__()
        self._topic = topic
        self._partition = partition
        self._place: dict[str, object] = (
            {} if offset is None else {"offset": offset}
        )  # where the page starts, as fields of the request
        self._page = rows.RecordsPage()
        self._records: list[rows.ListedRecord] = []
        self._follows = False
        self._reading = False

    def body(self) -> ComposeResult:
        yield Static(id="records-state", classes="view-state", markup=False)
        yield Grid(LIST, empty="no records here", id="records")

    def on_mount(self) -> None:
        self.set_interval(FOLLOW_S, self._follow)

    # --- reading

    async def load(self) -> None:
        self._reading = True
        try:
            self._page = await self.session.call(PATH, self._request(), rows.RecordsPage)
        finally:
            self._reading = False
        self._records = self._page.data
        self._show(at_end=not self._place or self._place.get("direction") == "older")

    def _request(self, **other: object) -> dict[str, Any]:
        """`other`: in place of where the page starts."""
        request: dict[str, Any] = {"topic": self._topic, "page_size": PAGE_SIZE, **(other or self._place)}
        if self.filter_text:
            request["key"] = self.filter_text
        if self._partition is not None and "positions" not in request:
            request["partitions"] = [self._partition]
        return request

    def _go(self, **place: object) -> None:
        self._follows = False
        self._place = place
        self.reload()

    def _follow(self) -> None:
        """A tick: nothing, unless the end is followed in a view that is shown and not reading already."""
        if self._follows and not self._reading and self.app.screen is self:
            self._read_on()

    @work(exclusive=True, group="load", exit_on_error=True)
    async def _read_on(self) -> None:
        request = self._request(positions=self._page.pagination_data.newer)
        self._reading = True
        try:
            page = await self.tried(self.session.call(PATH, request, rows.RecordsPage))
        finally:
            self._reading = False
        if page is None:
            self._follows = False
        else:
            self._page = page
            self._records = rows.merged(self._records, page.data, RECORDS_MAX)
            if page.data:
                self._show(at_end=True)
        self._show_state()

    def _show(self, *, at_end: bool) -> None:
        grid = self.query_one("#records", Grid)
        grid.show((record.id, cells(record)) for record in self._records)
        if self._records:
            grid.move_cursor(row=len(self._records) - 1 if at_end else 0, animate=False)
        self._show_state()

    def _show_state(self) -> None:
        line = state_line(self._topic, self._page, len(self._records), follows=self._follows)
        self.query_one("#records-state", Static).update(line)

    def apply_filter(self, text: str) -> None:
        self.filter_text = text
        self._go()

    # --- keys

    def action_older(self) -> None:
        older = self._page.pagination_data.older
        if older is None:
            self.notify("there are no older records")
        else:
            self._go(positions=older, direction="older")

    def action_newer(self) -> None:
        if self._page.pagination_data.at_end:
            self.notify("this is the end: f follows it")
        else:
            self._go(positions=self._page.pagination_data.newer)

    def action_beginning(self) -> None:
        self._go(direction="newer")

    def action_end(self) -> None:
        self._go()

    @work(group="dialog")
    async def action_seek(self) -> None:
        question = "Go to an offset of one partition, or a time: 1204, 14:30, 2026-11-30 14:30, -15m"
        entered = await self.app.push_screen_wait(Ask(question))
        if entered is None:
            return
        try:
            place = rows.place(entered, datetime.fromtimestamp(CLOCK.now_ms() / 1000, UTC).astimezone())
        except rows.UnreadablePlace as error:
            self.notify(str(error), severity="warning", markup=False)
            return
        if "offset" in place and self._partition is None and not self.filter_text and len(self._page.partitions) > 1:
            self.notify("an offset is of one partition: choose it with p", severity="warning")
        else:
            self._go(**place)

    def action_follow(self) -> None:
        if self._follows:
            self._follows = False
            self._show_state()
        elif self._page.pagination_data.at_end:
            self._follows = True
            self._show_state()
        else:
            self._go()
            self._follows = True

    @work(group="dialog")
    async def action_partition(self) -> None:
        entered = await self.app.push_screen_wait(Ask("Partition; empty: all", required=False))
        if entered is None:
            return
        if entered.strip() and not entered.strip().isdecimal():
            self.notify(f"{entered!r} is not the number of a partition", severity="warning", markup=False)
            return
        self._partition = int(entered) if entered.strip() else None
        self._go()

    def key_escape(self) -> None:
        """Left to the binding, which also leaves the view."""

    def action_back(self) -> None:
        if self.filter_text or self.query_one("#filter").display:
            super().key_escape()
        else:
            _ = self.app.pop_screen()

    # --- one record

    def on_data_table_row_selected(self, _event: DataTable.RowSelected) -> None:
        self.action_inspect()

    @work(group="dialog")
    async def action_inspect(self) -> None:
        record = self._selected()
        if record is not None:
            title = f"{record.topic}  partition {record.partition}, offset {record.offset}"
            await self.app.push_screen(Inspect(title, record.document, self._command(record)))

    def action_copy(self) -> None:
        record = self._selected()
        if record is not None:
            self.app.copy_to_clipboard(self._command(record))
            self.notify("the command, without the token, is on the clipboard of the terminal")

    def _command(self, record: rows.ListedRecord) -> str:
        return curl(self.session.url, PATH, rows.one_record(record))

    def _selected(self) -> rows.ListedRecord | None:
        key = self.selected_key()
        return next((each for each in self._records if each.id == key), None)


def cells(record: rows.ListedRecord) -> Sequence[Content | str]:
    plain = record.encoding in ("json", "text")
    value = rows.preview(record)
    return (
        Content.styled(shown.date_and_time(record.time), "$foreground-muted"),
        str(record.partition),
        str(record.offset),
        clean(record.key) or Content.styled("(none)", "$foreground-muted"),
        Content.styled(shown.size(record.size_bytes), "$foreground-muted"),
        value if plain else Content.styled(value, "$warning" if record.encoding == "withheld" else "$foreground-muted"),
    )


def state_line(topic: str, page: rows.RecordsPage, records: int, *, follows: bool) -> Content:
    around = page.pagination_data
    place = rows.held(page.partitions, around.older or {str(each.partition): each.begin for each in page.partitions})
    words = f"  {place}, {records:,} shown"
    if follows:
        mode = Content.styled(" follows, f stops ", "bold $background on $success")
    elif not around.complete:
        mode = Content.styled(" the search goes on with o and n ", "bold $background on $warning")
    elif around.at_end:
        mode = Content.styled(" the end: o older, f follows ", "$foreground-muted")
    else:
        mode = Content.styled(" o older, n newer, e end ", "$foreground-muted")
    return Content.assemble(Content.styled(f" {topic}", "bold $primary"), words, "  ", mode)
