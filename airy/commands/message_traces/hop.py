"""A hop: one step of a message's way, and the whole way."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from airy.bus.record import Position
from airy.model.conversation import Message

HopKind = str
"""`webhook.received`, the kind of a fact such as `message.received` or `send.started`, `fold`, `store`,
`events.broadcast`, `webhooks.queued`, `delivery.attempt`, `delivery.waiting` or `delivery.dead`.
"""

Outcome = Literal[
    "stored",  # in the log
    "beyond_retention",  # was in the log; retention has deleted it
    "unreadable",  # in the log, and this version cannot decode it, or the position holds another record
    "folded",
    "committed",  # in the store of the process that answers
    "broadcast",  # handed to the clients that followed its events
    "queued",  # the changes are in the webhook queue, or were
    "waiting",  # not folded by every process, not in the webhook queue, not attempted yet
    "unknown",  # the webhook queue did not answer, or it was too long ago
    "delivered",
    "retry",
    "dead",
    "disabled",  # the attempt disabled the webhook
    "failed",
    "replayed",  # a dead delivery that is sent again
]


class Hop(Struct, frozen=True, kw_only=True):
    """`at_ms`: by the clock of the process that did it; None where no time is kept. `caused_by`: the offset of the fact
    that a hop follows from, for the order.
    """

    kind: HopKind
    outcome: Outcome
    at_ms: int | None = None
    position: Position | None = None
    took_ms: int | None = None
    detail: dict[str, object] = {}
    caused_by: int | None = None


class MessageTrace(Struct, frozen=True):
    """Hops in their order. Not `complete`: the search for delivery attempts ended at its limit."""

    message: Message
    hops: tuple[Hop, ...]
    complete: bool = True


def place_behind(chain: list[Hop], fact: Position, hops: Sequence[Hop]) -> None:
    """Insert `hops`, which follow from `fact`, behind it, in their order, before what has happened later."""
    at = 1 + next(number for number, hop in enumerate(chain) if hop.caused_by == fact.offset)
    for hop in hops:
        while at < len(chain) and (chain[at].at_ms or 0) < (hop.at_ms or 0):
            at += 1
        chain.insert(at, hop)
        at += 1


def in_order(chain: list[Hop], deliveries: list[Hop]) -> tuple[Hop, ...]:
    """`chain` as it is, which is the order of causes, with the deliveries in between by their times, each behind the
    fact that caused it: the clocks of two processes may differ.
    """
    keyed: list[tuple[int, int, Hop]] = []
    reached_ms = 0
    fact_ms: dict[int, int] = {}
    for hop in chain:
        reached_ms = max(reached_ms, hop.at_ms or 0)
        keyed.append((reached_ms, 0, hop))
        if hop.caused_by is not None:
            fact_ms.setdefault(hop.caused_by, reached_ms)
    for hop in deliveries:
        at_ms = max(hop.at_ms or 0, fact_ms.get(hop.caused_by or 0, 0))
        keyed.append((at_ms, 1, hop))
    return tuple(hop for _, _, hop in sorted(keyed, key=lambda each: each[:2]))
