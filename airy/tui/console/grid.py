"""A table with columns of known width that is updated in place: the cursor stays on its row, and unchanged cells are
not drawn again.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct
from textual.content import Content
from textual.coordinate import Coordinate
from textual.widgets import DataTable

PADDING = 2  # columns beside each cell
NOT_READ = "not read yet"


class Column(Struct, frozen=True):
    """`width` in character cells; 0: what the others leave. Narrow terminals drop columns with a low `keep` first."""

    title: str
    width: int = 0
    align: Literal["left", "right"] = "left"
    keep: int = 9


Row = tuple[str, Sequence[Content | str]]  # key and cells


class Grid(DataTable[Content]):
    """`show` the rows; a selection posts `DataTable.RowSelected` with the row's key. `empty` is said of no rows, once
    they were read.
    """

    def __init__(self, columns: Sequence[Column], *, empty: str = "nothing here", id: str | None = None) -> None:  # noqa: A002 - as Textual names it
        super().__init__(id=id, cursor_type="row", cell_padding=PADDING // 2)
        self._all = tuple(columns)
        self._visible = list(columns)
        self._widths: list[int] = []
        self._rows: list[Row] = []
        self._keys: list[str] = []
        self._empty = empty
        self._was_shown = False

    @property
    def keys(self) -> Sequence[str]:
        """Of the rows, in order."""
        return self._keys

    @property
    def cursor_key(self) -> str | None:
        return self._keys[self.cursor_row] if 0 <= self.cursor_row < len(self._keys) else None

    def on_resize(self) -> None:
        self._lay_out()

    def show(self, rows: Iterable[Row]) -> None:
        """Replace the rows. Cells are in the order of all columns, hidden ones included."""
        rows = list(rows)
        before, self._rows = self._rows, rows
        first, self._was_shown = not self._was_shown, True
        if not self._widths:
            self._lay_out()
        elif not first and [key for key, _ in rows] == self._keys:
            self._update(before)
        else:
            self._fill()

    def _lay_out(self) -> None:
        room = self.size.width - self.styles.scrollbar_size_vertical
        if room <= 0:
            return
        visible = fitting(self._all, room)
        widths = spread(visible, room)
        if visible == self._visible and widths == self._widths:
            return
        self._visible, self._widths = visible, widths
        self.clear(columns=True)
        for column, width in zip(visible, widths, strict=True):
            title = column.title.rjust(width) if column.align == "right" else column.title
            self.add_column(title, width=width)
        self._fill()

    def _fill(self) -> None:
        selected, at, scrolled = self.cursor_key, self.cursor_row, self.scroll_y
        self.clear()
        self._keys = [key for key, _ in self._rows]
        for key, cells in self._rows:
            self.add_row(*self._cells(cells), key=key)
        if not self._rows and self._widths:
            self.add_row(*(Content.styled(word, "$foreground-muted") for word in self._nothing()), key="")
        if self._keys:
            row = self._keys.index(selected) if selected in self._keys else min(at, len(self._keys) - 1)
            self.move_cursor(row=row, animate=False, scroll=False)
            self.scroll_to(y=scrolled, animate=False, force=True)

    def _nothing(self) -> list[str]:
        """What a table without rows says, in its widest column."""
        widest = max(range(len(self._widths)), key=self._widths.__getitem__)
        words = self._empty if self._was_shown else NOT_READ
        return [words if number == widest else "" for number in range(len(self._widths))]

    def _update(self, before: Sequence[Row]) -> None:
        for number, ((_, new), (_, old)) in enumerate(zip(self._rows, before, strict=True)):
            if new == old:
                continue
            for column, (cell, was) in enumerate(zip(self._cells(new), self._cells(old), strict=True)):
                if cell != was:
                    self.update_cell_at(Coordinate(number, column), cell)

    def _cells(self, cells: Sequence[Content | str]) -> list[Content]:
        chosen = [cell for column, cell in zip(self._all, cells, strict=True) if column in self._visible]
        return [
            fitted(cell if isinstance(cell, Content) else Content(cell), width, column.align)
            for cell, width, column in zip(chosen, self._widths, self._visible, strict=True)
        ]


def fitting(columns: Sequence[Column], room: int) -> list[Column]:
    """The columns for which there is room; those with the lowest `keep` are dropped first."""
    kept = list(columns)
    while len(kept) > 1 and sum(column.width or 12 for column in kept) + PADDING * len(kept) > room:
        least = min(kept, key=lambda column: column.keep)
        if least.keep >= 9:
            break
        kept.remove(least)
    return kept


def spread(columns: Sequence[Column], room: int) -> list[int]:
    """The widths: given ones, and the rest shared by columns without one."""
    rest = room - sum(column.width for column in columns) - PADDING * len(columns)
    open_ = sum(column.width == 0 for column in columns)
    return [column.width or max(8, rest // open_) for column in columns]


def fitted(cell: Content, width: int, align: Literal["left", "right"]) -> Content:
    """A cell of exactly this width at most; what is longer ends with an ellipsis."""
    cell = cell.truncate(width, ellipsis=True)
    return cell.pad_left(max(0, width - cell.cell_length)) if align == "right" else cell
