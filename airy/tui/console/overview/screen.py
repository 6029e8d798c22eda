"""The overview: figures above, processes and components beside each other, the supervision tree below."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import ClassVar

import anyio
from msgspec import Struct
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Click
from textual.style import Style
from textual.widgets import Static

from airy.api_client import RequestRefused
from airy.tui.console import format as shown
from airy.tui.console.grid import Column, Grid
from airy.tui.console.overview import rows
from airy.tui.console.view import ConsoleView
from airy.tui.poll import parse_metrics

ACTORS_PATH = "/processes.actors"
TREE = (
    Column("actor", 27),
    Column("state", 13),
    Column("rate", 8, "right"),
    Column("restarts", 8, "right", keep=5),
    Column("idle", 8, "right", keep=3),
    Column("mailbox", 9, "right", keep=2),
    Column("last error", keep=6),
)


class TreeList(Struct, frozen=True):
    data: list[rows.ProcessTree]


class ProcessList(Struct, frozen=True):
    data: list[rows.Process]


class OverviewView(ConsoleView):
    NAME = "overview"
    RELOAD_S = 1.0
    FILTER = "part of an actor's path, state or error"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "unwell", "only what is not ready"),
        Binding("p", "next_process", "the next process"),
        Binding("P", "previous_process", "the process before"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._processes: list[rows.Process] = []
        self._chosen: str | None = None  # the process whose tree is shown; None: the one that answers
        self._tree = rows.ProcessTree("")
        self._steps = rows.Samples()  # of that process
        self._figures = rows.Samples()
        self._only_unwell = False

    def body(self) -> ComposeResult:
        with Horizontal(id="figures"):
            for name in rows.FIGURES:
                yield Figure(name)
        with Horizontal(id="fleet"):
            for name in ("processes", "components"):
                panel = Static(id=name, classes="panel", markup=False)
                panel.border_title = name
                yield panel
        yield Static(id="tree-state", classes="view-state", markup=False)
        yield Grid(TREE, empty="no actor matches", id="actors")

    async def load(self) -> None:
        client = self.session.client
        self._processes = rows.in_order((await client.call("/processes.list", {}, ProcessList)).data)
        tree = await self._read_tree()
        metrics = parse_metrics(await client.text("/metrics"))
        if tree.instance == (self._chosen or tree.instance):  # and not another one, chosen meanwhile
            self._chosen, self._tree = tree.instance, tree
        now_s, at = anyio.current_time(), shown.instant(tree.at)
        steps = {actor.path: float(actor.steps) for actor in self._tree.actors}
        self._steps.add(at.timestamp() if at else now_s, steps)
        self._figures.add(now_s, rows.figures(metrics))
        for figure in self.query(Figure):
            figure.show(self._figures)
        panel = self.query_one("#components", Static)
        panel.update(component_list(self._processes, panel.content_size.width))
        self._show_processes()
        self._show_tree()

    async def _read_tree(self) -> rows.ProcessTree:
        """Of the chosen process. One that is not known any more gives way to the one that answers."""
        if self._chosen is not None:
            try:
                return (await self.session.call(ACTORS_PATH, {"process": self._chosen}, TreeList)).data[0]
            except RequestRefused as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                self._choose(None)
        return (await self.session.call(ACTORS_PATH, {}, TreeList)).data[0]

    def apply_filter(self, text: str) -> None:
        self.filter_text = text
        self._show_tree()
        self.reload()

    def action_unwell(self) -> None:
        self._only_unwell = not self._only_unwell
        self._show_tree()

    def action_next_process(self) -> None:
        self._show_tree_of(rows.neighbour(self._processes, self._chosen or "", 1))

    def action_previous_process(self) -> None:
        self._show_tree_of(rows.neighbour(self._processes, self._chosen or "", -1))

    def on_click(self, event: Click) -> None:
        instance = event.style.meta.get("process")
        if isinstance(instance, str):
            self._show_tree_of(instance)

    def _show_tree_of(self, instance: str) -> None:
        if instance and instance != self._chosen:
            self._choose(instance)
            self._show_processes()
            self.reload()

    def _choose(self, instance: str | None) -> None:
        self._chosen, self._steps = instance, rows.Samples()

    def _show_processes(self) -> None:
        self.query_one("#processes", Static).update(process_list(self._processes, self._chosen))

    def _show_tree(self) -> None:
        state = self.query_one("#tree-state", Static)
        state.display = len(self._processes) > 1
        state.update(tree_state(self._tree))
        found = [row for row in rows.actor_rows(self._tree.actors, self._steps.rates) if self._matches(row)]
        self.query_one("#actors", Grid).show((row.path, cells(row)) for row in found)

    def _matches(self, row: rows.ActorRow) -> bool:
        if self._only_unwell and row.symbol == rows.PHASES["ready"][0] and not row.said:
            return False
        return self.filter_text.lower() in f"{row.path} {row.phase} {row.said}".lower()


class Figure(Static):
    """A rate, now and over the last two minutes."""

    def __init__(self, name: str) -> None:
        super().__init__(classes="panel figure", markup=False)
        self.border_title = name
        self._counter = name

    def show(self, samples: rows.Samples) -> None:
        columns = max(4, self.content_size.width - 9)
        line = shown.sparkline(samples.history.get(self._counter, []), columns)
        now = shown.rate(samples.rates.get(self._counter))
        self.update(Content.assemble(Content.styled(f"{now:>8} ", "bold"), Content.styled(line, "$primary")))


def cells(row: rows.ActorRow) -> tuple[Content | str, ...]:
    state = Content.styled(f"{row.symbol} {row.phase}", row.style)
    return row.name, state, row.rate, row.restarts, row.idle, row.mailbox, Content.styled(row.said, "$error")


def tree_state(tree: rows.ProcessTree) -> Content:
    words = Content.styled(f" {rows.tree_words(tree)}", "$error" if tree.stale else "")
    return Content.assemble(words, Content.styled(" · p, P or a click: another process ", "$foreground-muted"))


def process_list(processes: Sequence[rows.Process], chosen: str | None) -> Content:
    """A line for each; of several, the one whose tree is shown is marked."""
    lines = []
    for process in processes:
        symbol, style, words = rows.process_state(process)
        facts = f"{shown.size(process.memory_bytes)}, {shown.duration(process.fold.age_s)} behind"
        mark = "" if len(processes) == 1 else "▸ " if process.instance == chosen else "  "
        line = Content.assemble(
            mark,
            Content.styled(f"{symbol} ", style),
            Content.styled(process.instance, "bold"),
            Content.styled(f" {words}", style),
            Content.styled(f"  {facts}", "$foreground-muted"),
        )
        lines.append(line.stylize(Style.from_meta({"process": process.instance})))
    return Content("\n").join(lines) if lines else Content.styled("no process has reported yet", "$foreground-muted")


def component_list(processes: Sequence[rows.Process], columns: int) -> Content:
    """As many to a line as fit; what is ready everywhere needs no words."""
    lines = [Content("")]
    for name, symbol, style, words in rows.component_states(processes):
        said = Content("") if words == "ready" else Content.styled(f" {words}", style)
        part = Content.assemble(Content.styled(f"{symbol} ", style), name, said, "  ")
        if lines[-1].cell_length + part.cell_length > columns + 2 and lines[-1].cell_length:
            lines.append(part)
        else:
            lines[-1] += part
    return Content("\n").join(lines)
