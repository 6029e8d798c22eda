"""Records what happened at the simulated provider: every message sent to it and every webhook request.

`violations` checks promise G7 from the provider's side.
"""

from collections import deque
from enum import StrEnum

from msgspec import Struct


class SendOutcome(StrEnum):
    """Whether a message was accepted, and whether its caller got a response."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # may be repeated
    UNREACHED = "unreached"  # no connection: may be repeated
    ACCEPTED_UNANSWERED = "accepted_unanswered"
    DROPPED_UNANSWERED = "dropped_unanswered"


ACCEPTED = frozenset({SendOutcome.ACCEPTED, SendOutcome.ACCEPTED_UNANSWERED})
REPEATABLE = frozenset({SendOutcome.REFUSED, SendOutcome.UNREACHED})


class SendCall(Struct, frozen=True):
    """One call that was a message. `message_id` is the caller's, where the provider takes one; `mid` the provider's."""

    at_ms: int
    account_id: str
    recipient_id: str
    message_id: str
    outcome: SendOutcome
    code: int | None = None  # the provider's error code, if it was refused
    mid: str | None = None
    text: str | None = None


class WebhookAttempt(Struct, frozen=True):
    """One webhook request. `status` None: no response."""

    at_ms: int
    webhook_id: int
    attempt: int
    duplicate: bool  # of a webhook that was acknowledged
    kinds: tuple[str, ...]
    mids: tuple[str, ...]
    status: int | None


class SimJournal:
    def __init__(self, entries_max: int) -> None:
        self.sends: deque[SendCall] = deque(maxlen=entries_max)
        self.webhook_attempts: deque[WebhookAttempt] = deque(maxlen=entries_max)
        self.given_up = 0  # webhooks not acknowledged in the time the provider allows

    def sends_of(self, message_id: str) -> list[SendCall]:
        return [send for send in self.sends if send.message_id == message_id]

    def accepted(self) -> dict[str, int]:
        """How often each message was accepted, by the caller's message id."""
        counts: dict[str, int] = {}
        for send in self.sends:
            counts[send.message_id] = counts.get(send.message_id, 0) + (send.outcome in ACCEPTED)
        return counts

    def violations(self) -> list[str]:
        """Messages sent again without a reported failure before, each with its outcomes in order."""
        outcomes: dict[str, list[SendOutcome]] = {}
        for send in self.sends:
            outcomes.setdefault(send.message_id, []).append(send.outcome)
        return [
            f"{message_id}: {', '.join(history)}"
            for message_id, history in outcomes.items()
            if not set(history[:-1]) <= REPEATABLE
        ]
