"""What happened at the provider, for those who check promises: every send it was asked for, every webhook it
posted.

`violations` is promise G7 as seen from the other side of the wire, where nothing can be argued away.
"""

from collections import deque
from enum import StrEnum

from msgspec import Struct


class Verdict(StrEnum):
    """What became of a send, and what its caller could know."""

    TAKEN = "taken"  # and told so
    REFUSED = "refused"  # and told so: the caller may try again
    UNREACHED = "unreached"  # no connection: the caller may try again
    TAKEN_UNTOLD = "taken_untold"
    LOST_UNTOLD = "lost_untold"


TAKEN = frozenset({Verdict.TAKEN, Verdict.TAKEN_UNTOLD})
REPEATABLE = frozenset({Verdict.REFUSED, Verdict.UNREACHED})


class Sending(Struct, frozen=True):
    """One call of the Send API. `message_id` is the caller's, from `message.metadata`."""

    at_ms: int
    page_id: str
    recipient_id: str
    message_id: str
    verdict: Verdict
    code: int | None = None  # Graph's, where it said no
    mid: str | None = None
    text: str | None = None


class Posting(Struct, frozen=True):
    """One webhook request. `status` None: no answer."""

    at_ms: int
    post_id: int
    attempt: int
    copy: bool  # of a webhook that was answered
    kinds: tuple[str, ...]
    mids: tuple[str, ...]
    status: int | None


class Journal:
    def __init__(self, entries_max: int) -> None:
        self.sendings: deque[Sending] = deque(maxlen=entries_max)
        self.postings: deque[Posting] = deque(maxlen=entries_max)
        self.given_up = 0  # webhooks nobody took for 36 hours

    def sendings_of(self, message_id: str) -> list[Sending]:
        return [sending for sending in self.sendings if sending.message_id == message_id]

    def taken(self) -> dict[str, int]:
        """How often each message was taken, by the caller's message id."""
        counts: dict[str, int] = {}
        for sending in self.sendings:
            counts[sending.message_id] = counts.get(sending.message_id, 0) + (sending.verdict in TAKEN)
        return counts

    def violations(self) -> list[str]:
        """Messages that were called again although no failure had been told, each with its story."""
        stories: dict[str, list[Verdict]] = {}
        for sending in self.sendings:
            stories.setdefault(sending.message_id, []).append(sending.verdict)
        return [
            f"{message_id}: {', '.join(story)}"
            for message_id, story in stories.items()
            if not set(story[:-1]) <= REPEATABLE
        ]
