"""The keys of the current view, made from its bindings."""

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static


class Help(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "dismiss", "close")]

    def __init__(self, title: str, keys: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        self._title = title
        self._keys = list(keys)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Static(key_list(self._keys))


def key_list(keys: Iterable[tuple[str, str]]) -> Content:
    """One key per line, aligned."""
    rows = list(keys)
    width = max((len(key) for key, _ in rows), default=0)
    lines = [Content.assemble(Content.styled(f"{key:>{width}}", "bold $accent"), f"  {words}") for key, words in rows]
    return Content("\n").join(lines)
