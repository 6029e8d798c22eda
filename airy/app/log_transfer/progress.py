"""Shows the progress of a transfer on stderr: a bar on a terminal, elsewhere a line now and then.

Not on stdout, which may carry the archive.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_S: Final = 10.0

OnProgress = Callable[[str, int], object]
"""Called with a topic and the number of its records just finished."""


def no_progress(_topic: str, _records: int) -> None:
    """Shows nothing."""


@contextmanager
def report_progress(doing: str, total: int | None = None) -> Iterator[OnProgress]:
    """`total`: the number of records, if it is known."""
    if sys.stderr.isatty():
        topic_column = TextColumn("{task.description}")
        columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), topic_column)
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=total)
            yield lambda topic, records: progress.update(task, advance=records, description=topic)
        return
    yield _ProgressLines(doing, total)


class _ProgressLines:
    def __init__(self, doing: str, total: int | None) -> None:
        self._doing = doing
        self._of = "" if total is None else f" of {total}"
        self._records = 0
        self._written_at = anyio.current_time()

    def __call__(self, topic: str, records: int) -> None:
        self._records += records
        if anyio.current_time() >= self._written_at + LINE_S:
            self._written_at = anyio.current_time()
            sys.stderr.write(f"{self._doing}: {self._records}{self._of} records, now {topic}\n")
