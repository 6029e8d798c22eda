"""Options of every simulated provider: its accounts, its behaviour, and the faults it injects.

Every random draw is seeded by its subject (a message, an event), not taken from a shared stream: one seed treats the
same message the same way in whatever order calls arrive.
"""

from enum import StrEnum
from typing import ClassVar

from msgspec import Struct, field

from airy.errors import Refused


class SendFault(StrEnum):
    """What goes wrong with a send, and whether the message is accepted nevertheless."""

    RATE_LIMITED = "rate_limited"  # the provider's own answer; not accepted
    BUSY = "busy"  # 5xx with the provider's error; not accepted
    GATEWAY = "gateway"  # 502 from a proxy; a seeded draw decides whether it was accepted
    GARBLED = "garbled"  # success with half a body; accepted
    ACCEPTED_UNANSWERED = "accepted_unanswered"  # accepted, then the caller's time-out
    DROPPED_UNANSWERED = "dropped_unanswered"  # hangs until the caller's time-out; not accepted
    UNREACHABLE = "unreachable"  # no connection; not accepted
    BLOCKED = "blocked"  # the recipient blocked the account; not accepted
    OUTSIDE_WINDOW = "outside_window"  # where the provider has a window; not accepted
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 — a word, not a token; not accepted
    ERROR = "error"  # the provider's error with a given code; not accepted
    FAILED_LATER = "failed_later"  # accepted; then a receipt says it failed, with a given code


class WebhookFault(StrEnum):
    """What goes wrong with the next events."""

    DUPLICATE = "duplicate"  # posted again after it was acknowledged
    REORDER = "reorder"  # held back while later ones pass
    DELAY = "delay"  # held back by `delay_ms`


class SimAccount(Struct, frozen=True):
    """A page, a number, a bot. `owner_id`: what it belongs to, where the provider has such a thing.

    One that is not `subscribed` posts no webhooks until its owner subscribes to them.
    """

    id: str
    name: str
    token: str
    image_url: str | None = None
    subscribed: bool = True
    kind: str = ""
    owner_id: str = ""


class Behaviour(Struct, frozen=True, kw_only=True):
    """Probabilities from 0 to 1, times in milliseconds. The defaults inject no faults."""

    latency_ms: tuple[int, int] = (20, 120)  # of a response
    event_ms: tuple[int, int] = (50, 400)  # until the webhook of an event
    echoes: bool = True
    delivered: float = 1.0
    read: float = 0.8
    late: float = 0.0  # receipts that are delayed
    late_ms: int = 600_000
    duplicated: float = 0.0  # webhooks sent again although they were acknowledged
    copies_max: int = 5
    reordered: float = 0.0  # events held back while later ones pass
    reordered_ms: int = 3_000
    elements_max: int = 1  # events of one account in one webhook
    private: float = 0.0  # people with a private profile
    faults: dict[SendFault, float] = field(default_factory=dict)  # per send
    calls_per_s_max: int | None = None  # sends of one account; above it the provider's rate limit
    redelivers_always: bool = False  # also where the provider gives up early: tests that count every message

    def __post_init__(self) -> None:
        chances = {
            "delivered": self.delivered,
            "read": self.read,
            "late": self.late,
            "private": self.private,
            "duplicated": self.duplicated,
            "reordered": self.reordered,
            "faults": sum(self.faults.values()),
        }
        for name, chance in chances.items():
            if not 0 <= chance <= 1:
                raise Refused(f"{name} is a probability between 0 and 1, not {chance}", field=name)


ROUGH = Behaviour(
    read=0.5,
    late=0.2,
    late_ms=20_000,
    duplicated=0.3,
    reordered=0.3,
    elements_max=3,
    private=0.1,
    faults={
        SendFault.RATE_LIMITED: 0.05,
        SendFault.BUSY: 0.05,
        SendFault.GATEWAY: 0.02,
        SendFault.GARBLED: 0.02,
        SendFault.ACCEPTED_UNANSWERED: 0.04,
        SendFault.DROPPED_UNANSWERED: 0.04,
        SendFault.UNREACHABLE: 0.05,
    },
)
"""Every fault a correct source tolerates."""


class SimOptions(Struct, frozen=True, kw_only=True):
    """`target_url`: origin of the installation under test, such as http://127.0.0.1:8080. Webhooks go there, with the
    path they are registered under. None: they go to the registered address itself, and wait where there is none.
    """

    accounts: tuple[SimAccount, ...]
    behaviour: Behaviour = Behaviour()
    seed: int = 0
    # customers
    customers: int = 0  # simulated people who write by themselves
    first_name: int = 0  # the place of the first person in the list of names
    turns_ms: tuple[int, int] = (1_500, 6_000)  # time to write a message
    rest_ms: tuple[int, int] = (20_000, 60_000)  # between two topics of one customer
    # bounds
    journal_max: int = 100_000
    pending_max: int = 50_000  # unacknowledged webhooks; above it customers pause and sends are refused as busy
    # the HTTP server
    target_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    posts_parallel_max: int = 8

    title: ClassVar[str]

    def __post_init__(self) -> None:
        if not self.accounts:
            raise Refused("accounts is empty: give at least one", field="accounts")
