"""How far a move is, for whoever waits: a bar on a terminal, now and then a line elsewhere. On stderr: the archive may
be what goes to stdout.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_S: Final = 10.0


Watch = Callable[[str, int], object]
"""Told the topic, and how many more of its records are done."""


def unwatched(_topic: str, _records: int) -> None:
    """Nobody looks."""


@contextmanager
def watching(doing: str, total: int | None = None) -> Iterator[Watch]:
    """`total` records, if that is known."""
    if sys.stderr.isatty():
        told = TextColumn("{task.description}")
        columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), told)
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=total)
            yield lambda topic, records: progress.update(task, advance=records, description=topic)
        return
    yield _Lines(doing, total)


class _Lines:
    def __init__(self, doing: str, total: int | None) -> None:
        self._doing = doing
        self._of = "" if total is None else f" of {total}"
        self._records = 0
        self._told_at = anyio.current_time()

    def __call__(self, topic: str, records: int) -> None:
        self._records += records
        if anyio.current_time() >= self._told_at + LINE_S:
            self._told_at = anyio.current_time()
            sys.stderr.write(f"{self._doing}: {self._records}{self._of} records, now {topic}\n")
