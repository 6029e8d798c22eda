"""The delivery state of a message, as a table. Forward only; `resend` is the one way back."""

from enum import StrEnum


class Delivery(StrEnum):
    PENDING = "pending"  # accepted by us, nobody has called the provider (or a recorded failure may be retried)
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
    U: frozenset({T, D, R, F}),
    T: frozenset({D, R, F}),  # providers report some failures after they accepted
    D: frozenset({R}),
    R: frozenset(),
    F: frozenset({P, T, D, R}),  # resend; or a receipt that proves the failure wrong
}

IN_FLIGHT = frozenset({P, S, U})

WIRE: dict[Delivery, str] = {  # the original's three words, kept in `delivery_state`
    P: "pending", S: "pending", U: "pending", T: "delivered", D: "delivered", R: "delivered", F: "failed",
}  # fmt: skip


def may_move(state: Delivery, to: Delivery) -> bool:
    return to in MOVES[state]
