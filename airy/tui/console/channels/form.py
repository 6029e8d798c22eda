"""The form of a kind of channel: a field for each of its request body."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from airy.tui.console.channels.rows import ConnectKind, problem


class ConnectForm(ModalScreen[dict[str, str] | None]):
    """What was written, without blank fields; None if the form was left. Secrets are not shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel"),
        Binding("down", "app.focus_next", "next field", show=False),
        Binding("up", "app.focus_previous", "previous field", show=False),
    ]

    def __init__(self, kind: ConnectKind) -> None:
        super().__init__()
        self._kind = kind

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog form", can_focus=False):
            yield Static(f"Connect: {self._kind.title}", classes="dialog-title", markup=False)
            for number, field in enumerate(self._kind.fields):
                with Horizontal(classes="form-field"):
                    yield Static(field.name + (" *" if field.required else ""), classes="form-label", markup=False)
                    yield Input(field.default, placeholder=field.hint, password=field.secret, id=f"field-{number}")
            yield Static("* required · Enter connects, Esc leaves", id="form-problem", classes="muted", markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Connect", id="connect", variant="primary")
                yield Button("Cancel", id="cancel")

    def on_mount(self) -> None:
        self.query(Input).first().focus()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        self._submit()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "connect":
            self._submit()
        else:
            self.action_cancel()

    def _submit(self) -> None:
        written = [self.query_one(f"#field-{number}", Input).value for number in range(len(self._kind.fields))]
        given = {
            field.name: value.strip() for field, value in zip(self._kind.fields, written, strict=True) if value.strip()
        }
        wrong = problem(self._kind.fields, given)
        if wrong:
            said = self.query_one("#form-problem", Static)
            said.update(wrong)
            said.set_classes("form-problem")
        else:
            _ = self.dismiss(given)

    def action_cancel(self) -> None:
        _ = self.dismiss(None)
