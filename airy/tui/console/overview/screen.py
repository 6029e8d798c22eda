"""The overview: figures above, processes and components beside each other, the supervision tree below."""

from typing import ClassVar

import anyio
from msgspec import Struct
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from airy.tui.console import format as shown
from airy.tui.console.grid import Column, Grid
from airy.tui.console.overview import rows
from airy.tui.console.view import ConsoleView
from airy.tui.poll import parse_metrics

TREE = (
    Column("actor", 27),
    Column("state", 13),
    Column("rate", 8, "right"),
    Column("restarts", 8, "right", keep=5),
    Column("idle", 8, "right", keep=3),
    Column("mailbox", 9, "right", keep=2),
    Column("last error", keep=6),
)


class ActorList(Struct, frozen=True):
    data: list[rows.ActorInfo]


class ProcessList(Struct, frozen=True):
    data: list[rows.Process]


class OverviewView(ConsoleView):
    NAME = "overview"
    RELOAD_S = 1.0
    FILTER = "part of an actor's path, state or error"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("u", "unwell", "only what is not ready")]

    def __init__(self) -> None:
        super().__init__()
        self._actors: list[rows.ActorInfo] = []
        self._steps = rows.Samples()
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
        yield Grid(TREE, empty="no actor matches", id="actors")

    async def load(self) -> None:
        client = self.session.client
        processes = (await client.call("/processes.list", {}, ProcessList)).data
        self._actors = (await client.call("/processes.actors", {}, ActorList)).data
        metrics = parse_metrics(await client.text("/metrics"))
        now_s = anyio.current_time()
        self._steps.add(now_s, {actor.path: float(actor.steps) for actor in self._actors})
        self._figures.add(now_s, rows.figures(metrics))
        for figure in self.query(Figure):
            figure.show(self._figures)
        self.query_one("#processes", Static).update(process_list(processes))
        panel = self.query_one("#components", Static)
        panel.update(component_list(processes, panel.content_size.width))
        self._show_tree()

    def apply_filter(self, text: str) -> None:
        self.filter_text = text
        self._show_tree()
        self.reload()

    def action_unwell(self) -> None:
        self._only_unwell = not self._only_unwell
        self._show_tree()

    def _show_tree(self) -> None:
        found = [row for row in rows.actor_rows(self._actors, self._steps.rates) if self._matches(row)]
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


def process_list(processes: list[rows.Process]) -> Content:
    lines = []
    for process in processes:
        symbol, style, words = rows.process_state(process)
        facts = f"{shown.size(process.memory_bytes)}, {shown.duration(process.fold.age_s)} behind"
        lines.append(
            Content.assemble(
                Content.styled(f"{symbol} ", style),
                Content.styled(process.instance, "bold"),
                Content.styled(f" {words}", style),
                Content.styled(f"  {facts}", "$foreground-muted"),
            )
        )
    return Content("\n").join(lines) if lines else Content.styled("no process has reported yet", "$foreground-muted")


def component_list(processes: list[rows.Process], columns: int) -> Content:
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
