"""A plan: each key with what it is and what it becomes, what restarts, and the question whether to apply it."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from airy.tui.console.config import rows
from airy.tui.view_model import clean


class PlanScreen(ModalScreen[bool]):
    """True if it is to be applied. `writes`: whether this console may."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "answer(True)", "apply"),
        Binding("escape,q", "answer(False)", "back"),
    ]

    def __init__(self, plan: rows.ShownPlan, *, writes: bool) -> None:
        super().__init__()
        self._plan = plan
        self._refused = plan.refused or ("" if writes else "this console is read-only: start it with --write")

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog plan", can_focus=False):
            yield Static("Plan: nothing is written yet", classes="dialog-title", markup=False)
            yield Static(difference_lines(self._plan), markup=False)
            yield Static("\n".join(rows.restart_lines(self._plan)), classes="plan-restarts", markup=False)
            if self._plan.problems:
                lines = "\n".join(rows.errors_by_key(rows.NOTHING, self._plan.problems)[1])
                yield Static(lines, classes="form-problem", markup=False)
            if self._refused:
                yield Static(f"cannot be applied here: {self._refused}", classes="form-problem", markup=False)
            with Horizontal(classes="dialog-buttons"):
                if self._can_apply:
                    yield Button("Apply (a)", id="apply", variant="warning")
                yield Button("Back (Esc)", id="back")

    @property
    def _can_apply(self) -> bool:
        return bool(not self._refused and not self._plan.problems and self._plan.differences)

    def on_mount(self) -> None:
        self.query_one("#back", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.action_answer(event.button.id == "apply")

    def action_answer(self, yes: bool) -> None:
        if yes and not self._can_apply:
            self.notify(self._refused or "there is nothing to apply", severity="warning", markup=False)
            return
        _ = self.dismiss(yes)


def difference_lines(plan: rows.ShownPlan) -> Content:
    """Of each key: the path, what it is in red, what it becomes in green."""
    if not plan.differences:
        return Content.styled("Nothing changes.", "$foreground-muted")
    lines: list[Content] = []
    for each in plan.differences:
        lines.append(Content.styled(each.path, "bold"))
        for sign, value, style in (("-", each.before, "$error"), ("+", each.after, "$success")):
            shown = "nothing" if value is None else clean(value, 300)
            lines.append(Content.styled(f"  {sign} {shown}", style if value is not None else "$foreground-muted"))
    return Content("\n").join(lines)
