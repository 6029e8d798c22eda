"""Shows the progress of long work on stderr: a bar with rate and estimate on a terminal, elsewhere a line now and then.

Not on stdout, which may carry the result.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio
from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

LINE_S: Final = 10.0
RECORDS: Final = "records"
KIBIBYTES: Final = "KiB"

OnProgress = Callable[[str, int], object]
"""Called with what is worked on, such as a topic, and the number of units just finished."""


def no_progress(_detail: str, _units: int) -> None:
    """Shows nothing."""


@contextmanager
def report_progress(doing: str, total: int | None = None, *, unit: str = RECORDS) -> Iterator[OnProgress]:
    """`total`: the number of units; None if it is not known, and then there is no estimate."""
    if not sys.stderr.isatty():
        yield _ProgressLines(doing, total, unit)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        _Rate(unit),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[detail]}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=total, detail="")
        yield lambda detail, units: progress.update(task, advance=units, detail=detail)


class _Rate(TextColumn):
    """`12,345 records, 8,000/s`"""

    def __init__(self, unit: str) -> None:
        super().__init__("")
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{task.completed:,.0f} {self._unit}{f', {speed:,.0f}/s' if speed else ''}")


class _ProgressLines:
    def __init__(self, doing: str, total: int | None, unit: str) -> None:
        self._doing = doing
        self._total = total
        self._unit = unit
        self._done = 0
        self._began_at = self._written_at = anyio.current_time()

    def __call__(self, detail: str, units: int) -> None:
        self._done += units
        now = anyio.current_time()
        if now >= self._written_at + LINE_S:
            self._written_at = now
            sys.stderr.write(
                f"{line(self._doing, self._done, self._total, self._unit, now - self._began_at, detail)}\n"
            )


def line(doing: str, done: int, total: int | None, unit: str, elapsed_s: float, detail: str) -> str:
    """`verifying: 40,000 of 100,000 records (40 %), 4,000/s, 15 s left, now topic`"""
    rate = done / elapsed_s
    known = "" if total is None else f" of {total:,}"
    percent = f" ({done / total:.0%})".replace("%", " %") if total else ""
    left = f", {max(0, total - done) / rate:,.0f} s left" if total and rate else ""
    return f"{doing}: {done:,}{known} {unit}{percent}, {rate:,.0f}/s{left}{f', now {detail}' if detail else ''}"
