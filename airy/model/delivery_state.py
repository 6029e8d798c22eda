"""The delivery state of a message and its transition table. Forward only; a recorded failure and `resend` are the
only ways back.

Three kinds of evidence set the state of an outbound message; the more specific one wins, in whatever order they
arrive: our own attempts (`pending`, `sending`, `unknown`, `sent`, `failed`), a watermark of the provider over the
whole conversation, and a report of the provider about this message. Reports have an order of their own: a failure
outweighs "sent", and "delivered" disproves a failure.
"""

from enum import StrEnum


class DeliveryState(StrEnum):
    PENDING = "pending"  # accepted here: the provider was not called yet, or a recorded failure may be retried
    SENDING = "sending"  # the intent of one attempt is recorded
    UNKNOWN = "unknown"  # the provider was called and the response was lost; an echo or receipt settles it
    SENT = "sent"  # the provider accepted it
    DELIVERED = "delivered"  # it reached the device; also every inbound message
    READ = "read"
    FAILED = "failed"


P, S, U, T, D, R, F = DeliveryState

TRANSITIONS: dict[DeliveryState, frozenset[DeliveryState]] = {
    P: frozenset({S, T, D, R, F}),
    S: frozenset({P, U, T, D, R, F}),  # back to pending only after a recorded failure that may be retried
    U: frozenset({P, T, D, R, F}),  # back to pending or failed by a late, but recorded failure
    T: frozenset({D, R, F}),  # providers report some failures after they accepted the message
    D: frozenset({R, P, F}),  # a watermark covers many messages: a failure of this one corrects it
    R: frozenset({P, F}),  # likewise
    F: frozenset({P, T, D, R}),  # resend, or a report of the provider that disproves the failure
}

IN_FLIGHT_STATES = frozenset({P, S, U})
WATERMARK_STATES = frozenset({U, T, D})  # those a watermark may advance

REPORT_STRENGTH: dict[DeliveryState | None, int] = {None: 0, T: 1, F: 2, D: 3, R: 4}  # of states a provider reports

API_STATE: dict[DeliveryState, str] = {  # `delivery_state` of the API: the three values of the original
    P: "pending",
    S: "pending",
    U: "pending",
    T: "delivered",
    D: "delivered",
    R: "delivered",
    F: "failed",
}

DETAILED_STATE: dict[DeliveryState, str | None] = {  # metadata `source.delivery_state`; None: the API state says it all
    P: None,
    S: None,
    U: "unknown",
    T: "sent",
    D: "delivered",
    R: "read",
    F: "failed",
}


def may_transition(state: DeliveryState, to: DeliveryState) -> bool:
    return to in TRANSITIONS[state]
