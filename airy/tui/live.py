"""Plain lines for pipes, files and logs: one for each message and each change of its state, from the HTTP API.

Example commands are printed once, in whole lines.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TextIO

import anyio

from airy.api_client import ApiClient
from airy.egress import UNRESTRICTED
from airy.http_client_aiohttp import AiohttpClient
from airy.secret import Secret
from airy.tui.poll import Poller, first_conversation
from airy.tui.view_model import ViewModel, changed_messages, state_words

BUSY_S = 0.25  # between polls while the model changes
IDLE_S = 2.0  # at most, while it does not
PAUSE_GROWTH = 1.5
PLAIN_MESSAGES_MAX = 20  # of a conversation between two polls; a terminal shows fewer
SHOWN_STATES_MAX = 2_000


class Surface(Protocol):
    """Where view models are shown."""

    def show(self, model: ViewModel) -> None: ...
    def write_line(self, line: str) -> None:
        """Write a line that stays."""
        ...


async def watch(url: str, token: Secret | None, log_file: Path | None = None, out: TextIO | None = None) -> None:
    """Write lines about the instance until cancelled."""
    async with AiohttpClient(UNRESTRICTED) as http:
        surface = Plain(out or sys.stdout)
        surface.write_line(f"# {footer_text(url, log_file)}")
        poller = Poller(ApiClient(http, url, token), messages_max=PLAIN_MESSAGES_MAX)
        await follow(poller, surface, lambda conversation: curl_examples(url, token, conversation))


async def follow(poller: Poller, surface: Surface, paste: Callable[[str], list[tuple[str, str]]]) -> None:
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


def curl_examples(url: str, token: Secret | None, conversation_id: str) -> list[tuple[str, str]]:
    """Example commands for another terminal, as label and one line."""
    secret = f" -H 'Authorization: Bearer {token.reveal()}'" if token else ""

    def curl(path: str, body: dict[str, object]) -> str:
        data = json.dumps(body, ensure_ascii=False)
        return f"curl -sS {url}{path}{secret} -H 'Content-Type: application/json' -d '{data}'"

    return [
        ("list conversations", curl("/conversations.list", {})),
        ("list its messages", curl("/messages.list", {"conversation_id": conversation_id})),
        (
            "send a reply",
            curl(
                "/messages.send",
                {"conversation_id": conversation_id, "message": {"text": "Hello from the terminal"}},
            ),
        ),
    ]
