"""What every view of the console shows at several sizes and themes, as text: the characters, then their styles.

`make pictures` writes the snapshots to tests/tui/console/snapshots/; a test compares them.
"""

import string
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from rich.style import Style
from textual.strip import Strip

from airy.tui.console.navigation import VIEWS, Entry
from tests.kit.console import OpenConsole, console
from tests.kit.pictures import FIRST_KEYS, bakery, live

SNAPSHOTS = Path(__file__).parents[1] / "tui" / "console" / "snapshots"
SIZES = ((80, 24), (120, 36), (200, 50))
THEMES = ("night", "contrast")
LIVE_S = 4
LETTERS = string.ascii_letters + string.digits


def path_of(view: str, size: tuple[int, int], theme: str) -> Path:
    return SNAPSHOTS / f"{view}-{size[0]}x{size[1]}-{theme}.txt"


async def snapshots(size: tuple[int, int], theme: str) -> dict[str, str]:
    """Of every view, opened by its key, by name."""
    async with console(bakery(), theme=theme, size=size, writes=True) as shown:
        return {entry.name: await _opened(shown, entry, number) for number, entry in enumerate(VIEWS)}


async def _opened(shown: OpenConsole, entry: Entry, number: int) -> str:
    await shown.press(entry.key, *FIRST_KEYS.get(entry.name, ()))
    await live(shown, range(number * LIVE_S + 1, (number + 1) * LIVE_S + 1))
    return drawn(shown.app.screen._compositor.render_strips())


def drawn(strips: Sequence[Strip]) -> str:
    """The text; a letter for each style; and for each line how many cells have which style, as `12a 3b`."""
    names: dict[str, str] = {}
    lines = [_text(strip) for strip in strips]
    runs = [" ".join(f"{count}{name}" for name, count in _runs(strip, names)) for strip in strips]
    legend = [f"{letter} {style}" for style, letter in names.items()]
    return "\n".join((*lines, "", *legend, "", *runs)) + "\n"


def _text(strip: Strip) -> str:
    return "".join(segment.text for segment in strip).rstrip()


def _runs(strip: Strip, names: dict[str, str]) -> Iterator[tuple[str, int]]:
    def named(cell: tuple[Style | None, int]) -> str:
        return names.setdefault(_look(cell[0]), LETTERS[len(names) % len(LETTERS)])

    cells = ((segment.style, segment.cell_length) for segment in strip)
    for name, group in groupby(cells, named):
        yield name, sum(length for _, length in group)


def _look(style: Style | None) -> str:
    """Colours and attributes, without links and identities."""
    if style is None:
        return "plain"
    attributes = [name for name in ("bold", "dim", "italic", "underline", "reverse") if getattr(style, name)]
    colours = [colour.get_truecolor().hex if colour else "default" for colour in (style.color, style.bgcolor)]
    return " ".join((f"{colours[0]} on {colours[1]}", *attributes))


async def write_snapshots() -> None:
    SNAPSHOTS.mkdir(exist_ok=True)
    for size in SIZES:
        for theme in THEMES:
            for view, text in (await snapshots(size, theme)).items():
                path_of(view, size, theme).write_text(text)
