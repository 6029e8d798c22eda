"""The form of a section: a field for each setting, with its help below, and problems at their fields."""

from collections.abc import Awaitable, Callable, Iterator
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import DescendantFocus
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Checkbox, Input, Select, Static

from airy.errors import Refused, Unavailable
from airy.tui.console.config import rows
from airy.tui.console.config.plan_screen import PlanScreen

Change = dict[str, object]  # the `data` of a change
YES, NO = "yes", "no"

MakePlan = Callable[[Change], Awaitable[rows.ShownPlan]]
Apply = Callable[[Change, str], Awaitable[object]]  # with the plan's fingerprint


class ConfigForm(ModalScreen[bool]):
    """True once a change was applied. A plan that is refused leaves the form as it was written."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel"),
        Binding("ctrl+s", "plan", "plan"),
        Binding("ctrl+d", "clear", "back to the default", priority=True),
        Binding("down", "app.focus_next", "next field", show=False),
        Binding("up", "app.focus_previous", "previous field", show=False),
    ]

    def __init__(self, section: rows.ListedSection, plan: MakePlan, apply: Apply, *, writes: bool) -> None:
        super().__init__()
        self._section = section
        self._plan = plan
        self._apply = apply
        self._writes = writes
        self._removed: set[str] = set()  # keys of secrets

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog form config-form"):
            yield Static(f"{self._section.path}: {self._section.summary}", classes="dialog-title", markup=False)
            with VerticalScroll(classes="form-fields", can_focus=False):
                for number, setting in enumerate(self._section.settings):
                    with Horizontal(classes="form-field"):
                        label = f"{setting.key}{' *' if setting.required else ''}"
                        yield Static(label, classes="form-label config-label", markup=False)
                        yield field(setting, f"field-{number}")
                    yield Static(id=f"problem-{number}", classes="field-problem", markup=False)
            yield Static(id="form-help", classes="muted", markup=False)
            yield Static(id="form-problem", classes="form-problem", markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Plan (^s)", id="plan", variant="primary")
                yield Button("Cancel (Esc)", id="cancel")

    def on_mount(self) -> None:
        first = next(self._fields(), None)
        if first is not None:
            first[1].focus()
        else:
            self.query_one("#cancel", Button).focus()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        setting = self._setting_of(event.widget)
        if setting is not None:
            self.query_one("#form-help", Static).update(setting.help)

    def on_checkbox_changed(self, event: Checkbox.Changed) -> None:
        event.checkbox.label = YES if event.value else NO

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        self.action_plan()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "plan":
            self.action_plan()
        else:
            self.action_cancel()

    def action_cancel(self) -> None:
        _ = self.dismiss(False)

    def action_clear(self) -> None:
        """The field with the focus is to have its default; a secret is to be removed."""
        widget = self.focused
        setting = self._setting_of(widget) if widget else None
        if isinstance(widget, Input) and setting is not None:
            widget.value = ""
            if setting.kind == "secret":
                self._removed ^= {setting.key}
                widget.placeholder = "to be removed" if setting.key in self._removed else setting.placeholder

    @work(exclusive=True, group="plan")
    async def action_plan(self) -> None:
        """Plan what was written; show it, or its problems; apply it if that is the answer."""
        change = rows.change(self._section, self._written())
        if not change:
            self._say({}, ["nothing was changed"])
            return
        try:
            plan = await self._plan(change)
            own, others = rows.errors_by_key(self._section, plan.problems)
            self._say(own, others)
            if plan.problems or not await self.app.push_screen_wait(PlanScreen(plan, writes=self._writes)):
                return
            await self._apply(change, plan.fingerprint)
        except (Refused, Unavailable) as error:
            self._say({}, [str(error)])
        else:
            _ = self.dismiss(True)

    def _written(self) -> dict[str, object]:
        """What stands in the fields, by key; None for a secret that is to be removed."""
        found = {key: value_of(widget) for key, widget in self._fields()}
        return {key: None if key in self._removed and not value else value for key, value in found.items()}

    def _say(self, own: dict[str, str], others: list[str]) -> None:
        for number, setting in enumerate(self._section.settings):
            self.query_one(f"#problem-{number}", Static).update(own.get(setting.key, ""))
            self.query_one(f"#problem-{number}", Static).display = setting.key in own
        self.query_one("#form-problem", Static).update("\n".join(others))
        first = next((widget for key, widget in self._fields() if key in own), None)
        if first is not None:
            first.focus()

    def _fields(self) -> Iterator[tuple[str, Widget]]:
        """Those that can be changed, by key."""
        for number, setting in enumerate(self._section.settings):
            if not setting.locked:
                yield setting.key, self.query_one(f"#field-{number}", Widget)

    def _setting_of(self, widget: Widget) -> rows.ListedSetting | None:
        name = widget.id or ""
        return self._section.settings[int(name[6:])] if name.startswith("field-") else None


def field(setting: rows.ListedSetting, name: str) -> Widget:
    """The widget of a setting. A locked one only says what it is, and why it stays so."""
    if setting.locked:
        value = setting.text or rows.as_text(setting.default) or "not set"
        return Static(f"{value}  ({setting.locked})", id=name, classes="muted locked", markup=False)
    if setting.kind == "switch" and setting.reference is None:
        return Checkbox(YES if setting.value else NO, bool(setting.value), id=name, compact=True)
    if setting.kind == "choice" and setting.reference is None:
        options = [(choice, choice) for choice in setting.choices]
        return Select(options, value=str(setting.value), allow_blank=False, id=name, compact=True)
    return Input(setting.text, placeholder=setting.placeholder, password=setting.kind == "secret", id=name)


def value_of(widget: Widget) -> object:
    """What is written in a field."""
    if isinstance(widget, Checkbox | Select):
        return widget.value
    return widget.value if isinstance(widget, Input) else ""
