"""The field of a filter: Tab completes what is suggested, and stays. Elsewhere Tab goes to the next field."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input


class FilterField(Input):
    """Letters behind a Tab must not become keys of the view: a field that is left has not been applied."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", "complete", show=False)]

    def action_complete(self) -> None:
        if self.cursor_at_end:
            self.action_cursor_right()
