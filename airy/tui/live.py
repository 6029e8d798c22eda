"""The live view of `make run` and `airy status --watch`: a client of the HTTP API.

On a terminal it redraws in place when something changed; elsewhere it appends a plain line for each message and each
change of its state. Example commands are printed once, above, in whole lines.
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

from airy.api_client import ApiClient
from airy.egress import EgressPolicy
from airy.http_client_aiohttp import AiohttpClient
from airy.secret import Secret
from airy.tui.poll import Poller, first_conversation
from airy.tui.screen import curl_examples, draw, state_words
from airy.tui.view_model import ViewModel, changed_messages

BUSY_S = 0.25  # between polls while the model changes
IDLE_S = 2.0  # at most, while it does not
PAUSE_GROWTH = 1.5
PLAIN_MESSAGES_MAX = 20  # of a conversation between two polls; a terminal shows fewer
SHOWN_STATES_MAX = 2_000
UNRESTRICTED = EgressPolicy(ports=(), http=True, private=True)  # the operator chose the address


class View(Protocol):
    """Where view models are shown."""

    def show(self, model: ViewModel) -> None: ...
    def write_line(self, line: str) -> None:
        """Write a line that stays."""
        ...


async def watch(url: str, token: Secret | None, log_file: Path | None = None, out: TextIO | None = None) -> None:
    """Show the instance until cancelled."""
    out = out or sys.stdout
    async with AiohttpClient(UNRESTRICTED) as http:
        client = ApiClient(http, url, token)
        with ExitStack() as held:
            if out.isatty():
                surface: View = held.enter_context(Screen(out, footer_text(url, log_file)))
                poller = Poller(client)
            else:
                surface, poller = Plain(out), Poller(client, messages_max=PLAIN_MESSAGES_MAX)
                surface.write_line(f"# {footer_text(url, log_file)}")
            await follow(poller, surface, lambda conversation: curl_examples(url, token, conversation))


async def watch_until_stopped(url: str, token: Secret | None) -> int:
    """`watch` as a program: SIGINT and SIGTERM end it with exit code 0."""
    async with anyio.create_task_group() as tasks:
        await tasks.start(_cancel_on_signal, tasks.cancel_scope)
        await watch(url, token)
    return 0


async def follow(poller: Poller, surface: View, paste: Callable[[str], list[tuple[str, str]]]) -> None:
    """Poll, faster while the model changes, and show each change."""
    shown: ViewModel | None = None
    pasted = False
    pause_s = BUSY_S
    while True:
        model = await poller.poll()
        first = first_conversation(model.rows)
        if first is not None and not pasted:
            for label, line in paste(first):
                surface.write_line(f"# {label}\n{line}\n")
            pasted = True
        if model != shown:
            surface.show(model)
            pause_s = BUSY_S
        else:
            pause_s = min(pause_s * PAUSE_GROWTH, IDLE_S)
        shown = model
        await anyio.sleep(pause_s)


def footer_text(url: str, log_file: Path | None) -> str:
    """The last line of the screen."""
    places = ["Ctrl-C stops", f"API {url}/schema", "more: airy status", *([f"log {log_file}"] if log_file else [])]
    return " · ".join(places)


class Plain:
    """Appends lines without colour or cursor movement: for pipes, files and logs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._before = ViewModel()
        self._shown_states: dict[str, str] = {}  # by message id; the oldest are dropped

    def write_line(self, line: str) -> None:
        self._write(line)

    def show(self, model: ViewModel) -> None:
        before, self._before = self._before, model
        if model.unreachable != before.unreachable and model.unreachable:
            self._write(f"not reachable: {model.unreachable}")
        if model.health != before.health:
            self._write(f"{'ready' if model.health.ready else 'not ready'} {model.health.reasons}".rstrip())
        for conversation, line in changed_messages(self._shown_states, model):
            self._remember(line.id, line.progress)
            arrow, state = ("→", "") if line.inbound else ("←", f"  {state_words(line)}")
            self._write(f"{line.at} {arrow} {conversation.name}: {line.text}{state}")

    def _remember(self, message_id: str, progress: str) -> None:
        self._shown_states.pop(message_id, None)
        self._shown_states[message_id] = progress
        if len(self._shown_states) > SHOWN_STATES_MAX:
            del self._shown_states[next(iter(self._shown_states))]

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

    def write_line(self, line: str) -> None:
        from rich.text import Text  # noqa: PLC0415

        self._console.print(Text(line), soft_wrap=True)

    def show(self, model: ViewModel) -> None:
        width, height = shutil.get_terminal_size()
        self._live.update(draw(model, width=width, height=height - 1, foot=self._foot), refresh=True)


async def _cancel_on_signal(scope: CancelScope, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
