"""Config: every component and section with its state; a form, a plan, and its application."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import DataTable, Static

from airy.tui.console.config import rows
from airy.tui.console.config.form import ConfigForm
from airy.tui.console.config.plan_screen import PlanScreen
from airy.tui.console.grid import Column, Grid
from airy.tui.console.inspect_screen import curl
from airy.tui.console.view import ConsoleView
from airy.tui.view_model import clean

LIST = (
    Column("state", 13),
    Column("section", 20),
    Column("set", 4, "right", keep=5),
    Column("processes", 9, "right", keep=3),
    Column("what it is", keep=6),
)


class ConfigView(ConsoleView):
    NAME = "config"
    RELOAD_S = 5.0
    FILTER = "words of a component, its state or its keys"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "edit", "open the form"),
        Binding("e", "switch", "switch a component on or off"),
        Binding("p", "plan", "what edits of the file by hand would change"),
        Binding("c", "copy", "copy as curl"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._list = rows.SectionList([])

    def body(self) -> ComposeResult:
        yield Static(id="config-state", classes="view-state", markup=False)
        yield Grid(LIST, empty="no section matches", id="sections")

    # --- reading

    async def load(self) -> None:
        self._list = await self.session.call("/components.list", {}, rows.SectionList)
        self._show()

    def apply_filter(self, text: str) -> None:
        self.filter_text = text
        self._show()

    def _show(self) -> None:
        wanted = self.filter_text.lower().split()
        found = [each for each in self._list.data if all(word in each.words for word in wanted)]
        self.query_one("#sections", Grid).show((each.name, cells(each)) for each in found)
        self.query_one("#config-state", Static).update(state_line(self._list))

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(curl(self.session.url, "/components.list", {}))
        self.notify("the command, without the token, is on the clipboard of the terminal")

    # --- changing

    def on_data_table_row_selected(self, _event: DataTable.RowSelected) -> None:
        self.action_edit()

    @work(group="dialog")
    async def action_edit(self) -> None:
        section = rows.by_name(self._list.data).get(self.selected_key() or "")
        if section is None:
            return
        plan, apply = partial(self._plan, section.name), partial(self._apply, section.name)
        if await self.app.push_screen_wait(ConfigForm(section, plan, apply, writes=self.session.writes)):
            self.notify(f"{self._list.file} is written: the process reloads", markup=False)
            self.reload()

    def action_plan(self) -> None:
        """Of the file as it is."""
        self._plan_and_apply([])

    def action_switch(self) -> None:
        section = rows.by_name(self._list.data).get(self.selected_key() or "")
        if section is None:
            return
        switch = section.switch
        if switch is None or switch.locked:
            why = f"its switch is {switch.locked}" if switch else "every installation runs it"
            self.notify(f"{section.name} cannot be switched: {why}", severity="warning", markup=False)
        else:
            self._plan_and_apply([{"name": section.name, "enabled": not switch.value}])

    @work(group="dialog")
    async def _plan_and_apply(self, changes: list[dict[str, object]]) -> None:
        """Show the plan, and apply it if that is the answer."""
        body = {"components": changes}
        plan = await self.tried(self.session.call("/components.plan", body, rows.ShownPlan))
        if plan is None or not await self.app.push_screen_wait(PlanScreen(plan, writes=self.session.writes)):
            return
        applied = self.session.call("/components.update", {**body, "fingerprint": plan.fingerprint}, object)
        if await self.tried(applied) is not None:
            self.notify("the process reloads", markup=False)
            self.reload()

    async def _plan(self, name: str, data: dict[str, object]) -> rows.ShownPlan:
        body = {"components": [{"name": name, "data": data}]}
        return await self.session.call("/components.plan", body, rows.ShownPlan)

    async def _apply(self, name: str, data: dict[str, object], fingerprint: str) -> None:
        changes = [{"name": name, "data": data}]
        await self.post("/components.update", {"components": changes, "fingerprint": fingerprint})


def cells(section: rows.ListedSection) -> Sequence[Content | str]:
    symbol, style, word = section.look
    processes = f"{section.ready}/{section.processes}" if section.processes else ""
    return (
        Content.styled(f"{symbol} {word}", style),
        Content.styled(clean(section.name), "bold" if section.state != "disabled" else "$foreground-muted"),
        str(section.given or ""),
        processes,
        Content.styled(clean(section.summary), "$foreground-muted"),
    )


def state_line(found: rows.SectionList) -> Content:
    """The file, whether it can be changed here, and how the last change went."""
    style, words = rows.outcome(found.last_change)
    refused = f" · read-only here: {clean(found.refused)}" if found.refused else ""
    parts = [Content.styled(f" {clean(found.file)}", "bold"), Content.styled(refused, "$warning")]
    if words:
        parts.append(Content.styled(f" · {words}", style))
    return Content.assemble(*parts)
