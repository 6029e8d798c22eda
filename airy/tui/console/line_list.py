"""A list of many lines that are drawn when they are seen: appending costs nothing per line that is not.

At most `lines_max` lines are kept; the oldest are dropped. The list follows its end until the cursor leaves it, and
again once the cursor is there.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import ClassVar, Generic, TypeVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style

LINES_MAX = 5_000

T = TypeVar("T")


class LineList(ScrollView, Generic[T], can_focus=True):
    """`draw` makes the line of an item. `Chosen` is posted for the line under the cursor when Enter is pressed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "line up", show=False),
        Binding("down,j", "move(1)", "line down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home,g", "first", "first line", show=False),
        Binding("end,G", "last", "last line, and follow", show=False),
        Binding("enter", "choose", "choose", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"line-list--cursor"}

    class Chosen(Message):
        """The line at the cursor was chosen."""

    def __init__(self, draw: Callable[[T], Content], *, lines_max: int = LINES_MAX, id: str | None = None) -> None:  # noqa: A002 - as Textual names it
        super().__init__(id=id)
        self._draw = draw
        self._items: deque[T] = deque(maxlen=lines_max)
        self._cursor: int | None = None  # None: the last line, whichever that is

    @property
    def follows(self) -> bool:
        return self._cursor is None

    @property
    def selected(self) -> T | None:
        if not self._items:
            return None
        return self._items[-1] if self._cursor is None else self._items[self._cursor]

    def append(self, items: Iterable[T]) -> None:
        new = list(items)
        dropped = max(0, len(self._items) + len(new) - (self._items.maxlen or 0))
        self._items.extend(new)
        self._resized(dropped)

    def replace(self, items: Iterable[T]) -> None:
        self._items = deque(items, maxlen=self._items.maxlen)
        self._cursor = None
        self._resized(0)

    def _resized(self, dropped: int) -> None:
        if self._cursor is not None:
            self._cursor = max(0, self._cursor - dropped)
        self.virtual_size = Size(self.size.width, len(self._items))
        self._show_cursor(keep=dropped)
        self.refresh()

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._items))

    def _show_cursor(self, *, keep: int = 0) -> None:
        """Scroll so that the cursor is seen; `keep`: lines that vanished above."""
        height = max(1, self.size.height)
        if self._cursor is None:
            top = max(0, len(self._items) - height)
        else:
            top = max(0, int(self.scroll_y) - keep)
            top = min(max(top, self._cursor - height + 1), self._cursor)
        self.scroll_to(y=top, animate=False, force=True, immediate=True)

    def render_line(self, y: int) -> Strip:
        number = int(self.scroll_offset.y) + y
        width = self.size.width
        if number >= len(self._items):
            return Strip.blank(width, self.rich_style)
        at_cursor = number == (len(self._items) - 1 if self._cursor is None else self._cursor)
        style = self.visual_style
        if at_cursor and self.has_focus:
            style += Style.from_styles(self.get_component_styles("line-list--cursor"))
        content = self._draw(self._items[number]).truncate(width, ellipsis=True)
        parts = content.render(style, end="", parse_style=self._get_style)  # hundreds of lines/s: no wrapping, no links
        strip = Strip(Segment(text, (style + part).rich_style) for text, part in parts)
        return strip.extend_cell_length(width, style.rich_style)

    def action_move(self, lines: int) -> None:
        self._move_to((len(self._items) - 1 if self._cursor is None else self._cursor) + lines)

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.size.height - 1))

    def action_first(self) -> None:
        self._move_to(0)

    def action_last(self) -> None:
        self._move_to(len(self._items))

    def _move_to(self, number: int) -> None:
        self._cursor = None if number >= len(self._items) - 1 else max(0, number)
        self._show_cursor()
        self.refresh()

    def action_choose(self) -> None:
        if self._items:
            self.post_message(self.Chosen())

    def on_click(self, event: Click) -> None:
        number = int(self.scroll_offset.y) + event.y
        if number < len(self._items):
            self._move_to(number)
            if event.chain == 2:
                self.action_choose()
