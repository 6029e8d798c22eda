"""A scrolled text that stays at its end when it grows or is wrapped anew, until it is scrolled back by hand.

Textual's own anchor moves a text that is shorter than the widget to its bottom, below notifications.
"""

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static


class EndScroll(VerticalScroll, can_focus=True):
    def __init__(self, *, id: str) -> None:  # noqa: A002 - as Textual names it
        super().__init__(id=id)
        self._at_end = True

    def compose(self) -> ComposeResult:
        yield _Text(self._keep_end)

    def show(self, text: Content, *, from_end: bool) -> None:
        """`from_end`: also if it was scrolled back."""
        self.query_one(_Text).update(text)
        if from_end:
            self._at_end = True
            self._keep_end()

    def _keep_end(self) -> None:
        if self._at_end:
            self.scroll_end(animate=False)

    def on_resize(self) -> None:
        self._keep_end()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._at_end = new_value >= self.max_scroll_y - 1


class _Text(Static):
    def __init__(self, on_resize: Callable[[], None]) -> None:
        super().__init__(markup=False)
        self._call_on_resize = on_resize

    def on_resize(self) -> None:
        self._call_on_resize()
