"""Reading on at the end of something, across restarts of the instance."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import anyio
import rich_click as click

from airy.cli.output import note
from airy.clock import SystemClock
from airy.errors import Unavailable
from airy.tui.console.topics.rows import UnreadablePlace, place

POLL_S = 1.0
RETRY_S = 2.0

Read = Callable[[], Awaitable[bool]]
"""Reads and prints a page; whether there is more already."""


async def read_all(read: Read, *, follow: bool) -> None:
    """Page after page; with `follow` without an end. An instance that stops answering is asked again, which is said
    once for each outage. Raises `Unavailable` if it does not answer at first.
    """
    answers: bool | None = None  # None: not yet
    while True:
        try:
            more = await read()
        except Unavailable as error:
            if not follow or answers is None:
                raise
            if answers:
                note(f"{error}; asking again")
            answers = False
            await anyio.sleep(RETRY_S)
            continue
        if answers is False:
            note("the instance answers again")
        answers = True
        if not more and not follow:
            return
        if not more:
            await anyio.sleep(POLL_S)


def where(entered: str) -> dict[str, Any]:
    """An offset or a time of an option, as a field of a request. Raises `UsageError`."""
    try:
        return place(entered, datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC).astimezone())
    except UnreadablePlace as error:
        raise click.UsageError(str(error)) from error
