"""Topics: the list with offsets and lag; Enter opens the records of one."""

from collections.abc import Sequence
from typing import ClassVar

from msgspec import Struct
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import DataTable, Static

from airy.tui.console import format as shown
from airy.tui.console.grid import Column, Grid
from airy.tui.console.inspect_screen import curl
from airy.tui.console.topics import rows
from airy.tui.console.topics.records import RecordsView
from airy.tui.console.view import ConsoleView

LIST = (
    Column("topic", 42),
    Column("partitions", 10, "right", keep=3),
    Column("records", 9, "right", keep=6),
    Column("kept", keep=2),
    Column("lag", 9, "right", keep=8),
    Column("age", 7, "right", keep=8),
)
PARTITIONS = (
    Column("part", 4, "right"),
    Column("begin", 9, "right", keep=3),
    Column("end", 9, "right"),
    Column("records", 8, "right", keep=4),
    Column("group"),
    Column("position", 9, "right"),
    Column("lag", 7, "right"),
    Column("age", 7, "right"),
)
LEVEL_STYLES = {"ok": "$success", "warn": "$warning", "bad": "bold $error"}


class TopicList(Struct, frozen=True):
    data: list[rows.ListedTopic]


class TopicsView(ConsoleView):
    NAME = "topics"
    RELOAD_S = 5.0
    FILTER = "words of the topic's name"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "browse", "browse the records"),
        Binding("a", "all", "show empty topics too"),
        Binding("p", "partitions", "show its partitions, and stop"),
        Binding("c", "copy", "copy as curl"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._topics: list[rows.ListedTopic] = []
        self._all = False
        self._by_partition = False

    def body(self) -> ComposeResult:
        yield Static(id="topics-state", classes="view-state", markup=False)
        yield Grid(LIST, empty="no topic has records", id="topics")
        yield Static(id="topic-detail", classes="panel", markup=False)
        yield Static(id="partitions-state", classes="view-state", markup=False)
        yield Grid(PARTITIONS, empty="no partitions", id="partitions")

    async def load(self) -> None:
        self._topics = (await self.session.call("/topics.list", {}, TopicList)).data
        self._show()

    def apply_filter(self, text: str) -> None:
        self.filter_text = text
        self._show()

    def action_all(self) -> None:
        self._all = not self._all
        self._show()

    def _show(self) -> None:
        words = self.filter_text.lower().split()
        matching = [each for each in self._topics if all(word in each.name for word in words)]
        found = matching if self._all or words else [each for each in matching if each.used]
        self.query_one("#topics", Grid).show((each.name, cells(each)) for each in found)
        self.query_one("#topics-state", Static).update(state_line(found, len(self._topics)))
        self._show_detail()

    def on_data_table_row_highlighted(self, _event: DataTable.RowHighlighted) -> None:
        self._show_detail()

    def _show_detail(self) -> None:
        topic = self._at_cursor()
        panel, grid = self.query_one("#topic-detail", Static), self.query_one("#partitions", Grid)
        state = self.query_one("#partitions-state", Static)
        panel.display = topic is not None and not self._by_partition
        state.display = grid.display = topic is not None and self._by_partition
        if topic is None:
            return
        panel.border_title = topic.name
        panel.update(detail(topic))
        state.update(partitions_line(topic))
        if self._by_partition:
            grid.show((row.key, partition_cells(row)) for row in rows.partition_rows(topic))

    def _at_cursor(self) -> rows.ListedTopic | None:
        key = self.query_one("#topics", Grid).cursor_key
        return next((each for each in self._topics if each.name == key), None)

    def action_partitions(self) -> None:
        """The lower half: the partitions, with the cursor in them, or the groups."""
        self._by_partition = not self._by_partition
        self._show_detail()
        self.set_focus(self.query_one("#partitions" if self._by_partition else "#topics", Grid))

    def on_data_table_row_selected(self, _event: DataTable.RowSelected) -> None:
        self.action_browse()

    @work(group="dialog")
    async def action_browse(self) -> None:
        """Of the topic; in the list of partitions of one, from where its group is behind."""
        topic, grid = self._at_cursor(), self.query_one("#partitions", Grid)
        if topic is None:
            return
        row = next((row for row in rows.partition_rows(topic) if row.key == grid.cursor_key), None)
        if row is None or not grid.has_focus:
            await self.app.push_screen(RecordsView(topic.name))
        else:
            start = row.lag.position if row.lag is not None and row.lag.position < row.span.end else None
            await self.app.push_screen(RecordsView(topic.name, row.span.partition, start))

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(curl(self.session.url, "/topics.list", {}))
        self.notify("the command, without the token, is on the clipboard of the terminal")


def cells(topic: rows.ListedTopic) -> Sequence[Content | str]:
    behind = LEVEL_STYLES[rows.level(topic.age_s)] if topic.lag else "$foreground-muted"
    return (
        topic.name if topic.used else Content.styled(topic.name, "$foreground-muted"),
        shown.count(len(topic.partitions)),
        shown.count(topic.records),
        Content.styled(topic.retention, "$foreground-muted"),
        Content.styled(shown.count(topic.lag), behind),
        Content.styled(shown.duration(topic.age_s) if topic.lag else "-", behind),
    )


def partition_cells(row: rows.PartitionRow) -> Sequence[Content | str]:
    span, lag = row.span, row.lag
    behind = LEVEL_STYLES[rows.level(lag.age_s)] if lag and lag.position < span.end else "$foreground-muted"
    return (
        str(span.partition),
        f"{span.begin:,}",
        f"{span.end:,}",
        shown.count(span.records),
        row.group or Content.styled("no group", "$foreground-muted"),
        f"{lag.position:,}" if lag else "-",
        Content.styled(shown.count(lag.lag) if lag else "-", behind),
        Content.styled(shown.duration(lag.age_s) if lag and lag.position < span.end else "-", behind),
    )


def partitions_line(topic: rows.ListedTopic) -> Content:
    keys = " · Tab: topics or partitions, Enter browses "
    return Content.assemble(Content.styled(f" {topic.name}", "bold"), Content.styled(keys, "$foreground-muted"))


def state_line(found: Sequence[rows.ListedTopic], total: int) -> Content:
    behind = sum(bool(each.lag) for each in found)
    words = f" {len(found)} of {total} topics" + (f", {behind} behind" if behind else "")
    return Content.styled(f"{words} · Enter browses, p partitions, a shows empty ones ", "$foreground-muted")


def detail(topic: rows.ListedTopic) -> Content:
    """Groups with their lag, writers and readers."""
    lines = []
    for group in topic.groups:
        if group.lag is None:
            continue
        behind = f"{shown.count(group.lag)} behind" + (f", {shown.duration(group.age_s)}" if group.lag else "")
        style = LEVEL_STYLES[rows.level(group.age_s)]
        lines.append(Content.assemble(f"{group.group:<32} ", Content.styled(behind, style)))
    idle = len(topic.groups) - len(lines)
    if idle:
        words = f"{idle} group{'s have' if idle > 1 else ' has'} committed nothing"
        lines.append(Content.styled(words, "$foreground-muted"))
    related = [("key", topic.key), ("written by", names(topic.writers)), ("read by", names(topic.readers))]
    lines += [Content.assemble(Content.styled(f"{name}: ", "$foreground-muted"), words) for name, words in related]
    return Content("\n").join(lines)


def names(components: Sequence[str], shown_max: int = 4) -> str:
    more = len(components) - shown_max
    return (", ".join(components[:shown_max]) + (f" and {more} more" if more > 0 else "")) or "-"
