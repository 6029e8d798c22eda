"""The live view: what `make run` and `airy status --watch` show. A client of the HTTP API, nothing else.

In a terminal it redraws in place, only when something changed; elsewhere it appends plain lines, one for
each message and each step of its delivery. What is to be pasted is printed once, above, in whole lines.
"""

import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, Self, TextIO

import anyio
from anyio import CancelScope
from anyio.abc import TaskStatus

from airy.addresses import Reach
from airy.client import Client
from airy.fetch_aiohttp import AiohttpFetch
from airy.secret import Secret
from airy.tui.picture import Picture, news
from airy.tui.poll import Poller, first_conversation
from airy.tui.screen import curls, draw, state_words

BUSY_S = 0.25  # between polls while something happens
IDLE_S = 2.0  # and when nothing has for a while
SLOWER = 1.5
PLAIN_MESSAGES_MAX = 20  # of a conversation between two polls; a terminal shows fewer
TOLD_MAX = 2_000
ANYWHERE = Reach(ports=(), http=True, private=True)  # the instance is where the operator says it is


class Surface(Protocol):
    """Where pictures go."""

    def show(self, picture: Picture) -> None: ...
    def tell(self, line: str) -> None:
        """One line that stays."""
        ...


async def watch(url: str, token: Secret | None, log_file: Path | None = None, out: TextIO | None = None) -> None:
    """Show the instance until cancelled."""
    out = out or sys.stdout
    async with AiohttpFetch(ANYWHERE) as fetch:
        client = Client(fetch, url, token)
        with ExitStack() as held:
            if out.isatty():
                surface: Surface = held.enter_context(Screen(out, where_to_look(url, log_file)))
                poller = Poller(client)
            else:
                surface, poller = Plain(out), Poller(client, messages_max=PLAIN_MESSAGES_MAX)
                surface.tell(f"# {where_to_look(url, log_file)}")
            await follow(poller, surface, lambda talk: curls(url, token, talk))


async def watch_until_stopped(url: str, token: Secret | None) -> int:
    """`watch` as a program of its own: a signal ends it, and that is fine."""
    async with anyio.create_task_group() as tasks:
        await tasks.start(_cancel_on_signal, tasks.cancel_scope)
        await watch(url, token)
    return 0


async def follow(poller: Poller, surface: Surface, paste: Callable[[str], list[tuple[str, str]]]) -> None:
    """Poll, faster while something happens, and show what changed."""
    shown: Picture | None = None
    told = False
    pause_s = BUSY_S
    while True:
        picture = await poller.poll()
        first = first_conversation(picture.talks)
        if first is not None and not told:
            for label, line in paste(first):
                surface.tell(f"# {label}\n{line}\n")
            told = True
        if picture != shown:
            surface.show(picture)
            pause_s = BUSY_S
        else:
            pause_s = min(pause_s * SLOWER, IDLE_S)
        shown = picture
        await anyio.sleep(pause_s)


def where_to_look(url: str, log_file: Path | None) -> str:
    """The last line of the screen: what else there is."""
    places = ["Ctrl-C stops", f"API {url}/schema", "more: airy status", *([f"log {log_file}"] if log_file else [])]
    return " · ".join(places)


class Plain:
    """Appends lines without colour or cursor movement: for pipes, files and logs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._before = Picture()
        self._told: dict[str, str] = {}  # message to the state told last; the oldest go first

    def tell(self, line: str) -> None:
        self._write(line)

    def show(self, picture: Picture) -> None:
        before, self._before = self._before, picture
        if picture.lost != before.lost and picture.lost:
            self._write(f"not reachable: {picture.lost}")
        if picture.health != before.health:
            self._write(f"{'ready' if picture.health.ready else 'not ready'} {picture.health.words}".rstrip())
        for talk, line in news(self._told, picture):
            self._remember(line.id, line.state)
            arrow, state = ("→", "") if line.inbound else ("←", f"  {state_words(line)}")
            self._write(f"{line.at} {arrow} {talk.name}: {line.text}{state}")

    def _remember(self, message_id: str, state: str) -> None:
        self._told.pop(message_id, None)
        self._told[message_id] = state
        if len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()


class Screen:
    """Redraws in place with rich; one instance owns the terminal while it is open."""

    def __init__(self, out: TextIO, foot: str = "") -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.live import Live  # noqa: PLC0415

        self._console = Console(file=out, highlight=False, soft_wrap=True)
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._foot = foot

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def tell(self, line: str) -> None:
        from rich.text import Text  # noqa: PLC0415

        self._console.print(Text(line), soft_wrap=True)

    def show(self, picture: Picture) -> None:
        width, height = shutil.get_terminal_size()
        self._live.update(draw(picture, width=width, height=height - 1, foot=self._foot), refresh=True)


async def _cancel_on_signal(scope: CancelScope, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
