"""The form of a kind of channel: a field for each of its request body."""

from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar, Generic, TypeVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from airy.api_client import RequestRefused
from airy.errors import Refused, Unavailable
from airy.tui.console.channels.rows import ConnectKind, problem
from airy.tui.view_model import clean

T = TypeVar("T")


class ConnectForm(ModalScreen[T | None], Generic[T]):
    """What `connect` returned for the fields that were filled in; None if the form was left.

    While `connect` is refused the form stays, with everything that was written, and says why: at the field, if the
    answer names one. Secrets are not shown.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel"),
        Binding("down", "app.focus_next", "next field", show=False),
        Binding("up", "app.focus_previous", "previous field", show=False),
    ]

    def __init__(self, kind: ConnectKind, connect: Callable[[dict[str, str]], Awaitable[T]]) -> None:
        super().__init__()
        self._kind = kind
        self._connect = connect
        self._connecting = False

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog form", can_focus=False):
            yield Static(f"Connect: {self._kind.title}", classes="dialog-title", markup=False)
            for number, field in enumerate(self._kind.fields):
                with Horizontal(classes="form-field"):
                    yield Static(field.name + (" *" if field.required else ""), classes="form-label", markup=False)
                    yield Input(field.default, placeholder=field.hint, password=field.secret, id=f"field-{number}")
                wrong = Static(id=f"wrong-{number}", classes="form-wrong", markup=False)
                wrong.display = False
                yield wrong
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
        if self._connecting:  # a second Enter while the provider is asked
            return
        written = [self.query_one(f"#field-{number}", Input).value for number in range(len(self._kind.fields))]
        given = {
            field.name: value.strip() for field, value in zip(self._kind.fields, written, strict=True) if value.strip()
        }
        wrong = problem(self._kind.fields, given)
        if wrong:
            self._say(wrong, "form-problem")
        else:
            self._try(given)

    @work(group="connect")
    async def _try(self, given: dict[str, str]) -> None:
        self._connecting = True
        self._mark({})
        self._say("connecting …", "muted")
        try:
            connected = await self._connect(given)
        except RequestRefused as refused:
            self._mark(refused.invalid)
            at_field = refused.reason in refused.invalid.values()
            self._say("not connected: see above" if at_field else clean(refused.reason, 400), "form-problem")
        except (Refused, Unavailable) as error:
            self._say(clean(str(error), 400), "form-problem")
        else:
            _ = self.dismiss(connected)
        finally:
            self._connecting = False

    def _mark(self, invalid: Mapping[str, str]) -> None:
        """Shows below each field what is wrong with it, and goes to the first of them."""
        first: Input | None = None
        for number, field in enumerate(self._kind.fields):
            said = invalid.get(field.name)
            wrong = self.query_one(f"#wrong-{number}", Static)
            wrong.display = said is not None
            wrong.update(clean(said or "", 200))
            if said is not None and first is None:
                first = self.query_one(f"#field-{number}", Input)
        if first is not None:
            first.focus()

    def _say(self, words: str, style: str) -> None:
        said = self.query_one("#form-problem", Static)
        said.update(words)
        said.set_classes(style)

    def action_cancel(self) -> None:
        _ = self.dismiss(None)
