"""Questions: yes or no before something changes, a line of text, one of several."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option


class Confirm(ModalScreen[bool]):
    """True if the question was answered with yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape", "answer(False)", "no"),
    ]

    def __init__(self, question: str, details: str = "") -> None:
        super().__init__()
        self._question = question
        self._details = details

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._question, classes="dialog-title", markup=False)
            if self._details:
                yield Static(self._details, markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Yes (y)", id="yes", variant="warning")
                yield Button("No (n)", id="no")

    def on_mount(self) -> None:
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        _ = self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        _ = self.dismiss(yes)


class Ask(ModalScreen[str | None]):
    """A line of text, None if it was not given. `required`: an empty line is no answer."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "cancel")]

    def __init__(
        self, question: str, details: str = "", *, value: str = "", required: bool = True, password: bool = False
    ) -> None:
        super().__init__()
        self._question = question
        self._details = details
        self._value = value
        self._required = required
        self._password = password

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog ask"):
            yield from self._content()

    def _content(self) -> Iterator[Static | Input]:
        yield Static(self._question, classes="dialog-title", markup=False)
        yield Input(self._value, password=self._password)
        if self._details:
            yield Static(self._details, classes="muted", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip() or not self._required:
            _ = self.dismiss(event.value)

    def action_cancel(self) -> None:
        _ = self.dismiss(None)


class Choose(ModalScreen[str | None]):
    """The key of one of several options, None if none was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "cancel")]

    def __init__(self, question: str, options: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        self._question = question
        self._options = list(options)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._question, classes="dialog-title", markup=False)
            yield OptionList(*(Option(words, id=key) for key, words in self._options), markup=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        _ = self.dismiss(event.option.id)

    def action_cancel(self) -> None:
        _ = self.dismiss(None)
