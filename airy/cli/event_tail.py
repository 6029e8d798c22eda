"""Prints the events of a feed as they arrive, until enough were printed. Reconnects are the feed's."""

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import msgspec
from msgspec import Struct

from airy.cli.connection import ADVICE
from airy.cli.output import note
from airy.cli.writers import RowWriter
from airy.errors import Unavailable
from airy.tui.console.event_feed import EventFeed, ShownEvent
from airy.tui.console.tail.rows import matches

RESYNC = "some events are no longer kept: read the state anew; events follow from here on"


class TailRequest(Struct, frozen=True):
    """`words`: every one is in a printed event, those with `-` before them in none. `events_max`: 0: no end.

    `url`: of the instance, for errors. `save` gets the position after the printed events.
    """

    words: str = ""
    events_max: int = 0
    url: str = ""
    save: Callable[[str], None] | None = None


async def follow(feed: EventFeed, writer: RowWriter, request: TailRequest) -> None:
    """Raises `Unavailable` if the first connection fails, and `Refused` if the instance refuses."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed.run)
        told = _Notes()
        while not request.events_max or writer.written < request.events_max:
            await feed.wait()
            _print(feed.take(), writer, request)
            told.of(feed, request.url)
        tasks.cancel_scope.cancel()


def _print(events: list[ShownEvent], writer: RowWriter, request: TailRequest) -> None:
    if not events:
        return
    found = [event for event in events if matches(event, request.words)]
    left = request.events_max - writer.written if request.events_max else len(found)
    writer.write([row(event) for event in found[:left]])
    if request.save:
        request.save((found[left - 1] if left < len(found) else events[-1]).resume)


def row(event: ShownEvent) -> Mapping[str, Any]:
    """The event as the instance sent it."""
    document: dict[str, Any] = msgspec.json.decode(event.body)
    return document


class _Notes:
    """What a person is told on stderr about the connection."""

    def __init__(self) -> None:
        self._was_live = False
        self._phase = ""
        self._resyncs = 0

    def of(self, feed: EventFeed, url: str) -> None:
        state = feed.state
        if feed.refusal is not None:
            raise feed.refusal
        if state.phase == "broken" and not self._was_live:
            raise Unavailable(f"{state.reason}, at {url}; {ADVICE}")
        if self._was_live and state.phase != self._phase:
            note("connected again" if state.phase == "live" else f"{state.reason}; connecting again")
        if feed.resyncs > self._resyncs:
            note(RESYNC)
        self._phase, self._resyncs = state.phase, feed.resyncs
        self._was_live = self._was_live or state.phase == "live"
