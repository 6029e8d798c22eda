"""A JSON document, whole: scroll, copy it, or copy the command that reads it."""

import json
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.highlight import highlight
from textual.screen import ModalScreen
from textual.widgets import Static

CHARACTERS_MAX = 200_000  # of a document that are shown


class Inspect(ModalScreen[None]):
    """`command`: a curl command, or empty."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", "close"),
        Binding("y", "copy", "copy the JSON"),
        Binding("c", "copy_command", "copy as curl"),
    ]

    def __init__(self, title: str, document: bytes | object, command: str = "") -> None:
        super().__init__()
        self._title = title
        self._text = pretty(document)
        self._command = command

    def compose(self) -> ComposeResult:
        keys = "Esc closes · y copies" + (" · c copies as curl" if self._command else "")
        with VerticalScroll(classes="dialog inspect"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Static(coloured(self._text), markup=False)
            yield Static(keys, classes="muted", markup=False)

    def action_close(self) -> None:
        _ = self.dismiss(None)

    def action_copy(self) -> None:
        self._copy(self._text, "the JSON")

    def action_copy_command(self) -> None:
        if self._command:
            self._copy(self._command, "the command, without the token,")

    def _copy(self, text: str, what: str) -> None:
        self.app.copy_to_clipboard(text)
        self.notify(f"{what} is on the clipboard of the terminal", markup=False)


def pretty(document: bytes | object) -> str:
    """Indented JSON; bytes that are none as text."""
    try:
        value = json.loads(document) if isinstance(document, bytes) else document
        text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    except ValueError:
        text = bytes(document).decode("utf-8", "replace") if isinstance(document, bytes) else str(document)
    text = "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)
    return text if len(text) <= CHARACTERS_MAX else f"{text[:CHARACTERS_MAX]}\n… {len(text) - CHARACTERS_MAX:,} more"


def coloured(text: str) -> Content:
    return highlight(text, language="json")


def curl(url: str, path: str, body: object) -> str:
    """The command for another terminal; the token comes from its environment."""
    data = json.dumps(body, ensure_ascii=False).replace("'", "'\\''")
    return (
        f"curl -sS {url}{path} -H \"Authorization: Bearer $AIRY_TOKEN\" -H 'Content-Type: application/json' -d '{data}'"
    )
