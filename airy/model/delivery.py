"""The delivery state of a message, as a table. Forward only; a recorded failure and `resend` are the only
ways back.

Three voices speak about a message of ours, and the more specific one wins whatever the order they are heard
in: our own attempts (`pending`, `sending`, `unknown`, `sent`, `failed`), the provider about a whole
conversation (a watermark), and the provider about this very message (a report). Reports have a strength of
their own: a failure outweighs "sent", and "delivered" proves a failure wrong.
"""

from enum import StrEnum


class Delivery(StrEnum):
    PENDING = "pending"  # accepted by us: nobody called the provider, or a recorded failure may be retried
    SENDING = "sending"  # the intent of one attempt is recorded
    UNKNOWN = "unknown"  # the provider was called and its answer was lost; an echo or receipt settles it
    SENT = "sent"  # the provider took it
    DELIVERED = "delivered"  # it reached the device; also every inbound message
    READ = "read"
    FAILED = "failed"


P, S, U, T, D, R, F = Delivery

MOVES: dict[Delivery, frozenset[Delivery]] = {
    P: frozenset({S, T, D, R, F}),
    S: frozenset({P, U, T, D, R, F}),  # back to pending only after a recorded failure that may be retried
    U: frozenset({P, T, D, R, F}),  # back to pending or failed by a late, but recorded failure
    T: frozenset({D, R, F}),  # providers report some failures after they accepted
    D: frozenset({R, P, F}),  # a watermark speaks of many: a failure of this very message corrects it
    R: frozenset({P, F}),  # likewise
    F: frozenset({P, T, D, R}),  # resend; or word from the provider that proves the failure wrong
}

IN_FLIGHT = frozenset({P, S, U})

STRENGTH: dict[Delivery | None, int] = {None: 0, T: 1, F: 2, D: 3, R: 4}  # of what can be reported

WIRE: dict[Delivery, str] = {  # the original's three words, kept in `delivery_state`
    P: "pending",
    S: "pending",
    U: "pending",
    T: "delivered",
    D: "delivered",
    R: "delivered",
    F: "failed",
}

FINE: dict[Delivery, str | None] = {  # metadata `source.delivery_state`; nothing to add to "pending"
    P: None,
    S: None,
    U: "unknown",
    T: "sent",
    D: "delivered",
    R: "read",
    F: "failed",
}


def may_move(state: Delivery, to: Delivery) -> bool:
    return to in MOVES[state]
