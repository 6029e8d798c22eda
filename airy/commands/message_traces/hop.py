"""A hop: one step of a message's way, and the whole way."""

from typing import Literal

from msgspec import Struct

from airy.bus.record import Position
from airy.model.conversation import Message

HopKind = str
"""`webhook.received`, the kind of a fact such as `message.received` or `send.started`, `fold`."""

Outcome = Literal[
    "stored",  # in the log
    "beyond_retention",  # was in the log; retention has deleted it
    "unreadable",  # in the log, and this version cannot decode it, or the position holds another record
    "folded",
    "waiting",  # not folded by every process
]


class Hop(Struct, frozen=True, kw_only=True):
    """`at_ms`: by the clock of the process that wrote the record; None where no time is kept."""

    kind: HopKind
    outcome: Outcome
    at_ms: int | None = None
    position: Position | None = None
    took_ms: int | None = None
    detail: dict[str, object] = {}


class MessageTrace(Struct, frozen=True):
    """Hops in their order. Not `complete`: some could not be read, or were not searched for long enough."""

    message: Message
    hops: tuple[Hop, ...]
    complete: bool = True
