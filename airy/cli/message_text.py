"""The content of a message on one line."""

import msgspec

from airy.cli.view import Document
from airy.tui.view_model import MessageRow, message_row

TEXT_CHARS_MAX = 70


def row(message: Document | None) -> MessageRow | None:
    return message_row(msgspec.Raw(msgspec.json.encode(message))) if message else None


def text(message: Document | None) -> str:
    """What the message says, in words; empty for none."""
    shown = row(message)
    return shown.text if shown else ""


def state(message: Document) -> str:
    """The delivery state of an outbound message, as exact as its provider reports it; empty for an inbound one."""
    shown = row(message)
    return shown.state if shown else ""
