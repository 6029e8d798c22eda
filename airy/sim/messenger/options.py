"""Options of the simulated Messenger: its pages, its app, and the faults it injects.

Every random draw is seeded by its subject (a message, an event), not taken from a shared stream: one seed treats the
same message the same way in whatever order calls arrive.
"""

from enum import StrEnum

from msgspec import Struct, field

from airy.errors import Refused


class SendFault(StrEnum):
    """What goes wrong with a send, and whether the message is accepted nevertheless."""

    RATE_LIMITED = "rate_limited"  # 613; not accepted
    BUSY = "busy"  # 500 with Graph's error; not accepted
    GATEWAY = "gateway"  # 502 from a proxy; a seeded draw decides whether it was accepted
    GARBLED = "garbled"  # 200 with half a body; accepted
    ACCEPTED_UNANSWERED = "accepted_unanswered"  # no response; accepted
    DROPPED_UNANSWERED = "dropped_unanswered"  # no response; not accepted
    UNREACHABLE = "unreachable"  # no connection; not accepted
    BLOCKED = "blocked"  # the recipient blocked the page; not accepted
    OUTSIDE_WINDOW = "outside_window"  # not accepted
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 — a word, not a token; not accepted


class SimPage(Struct, frozen=True):
    """A Facebook page. One that is not `subscribed` sends no webhooks until the app subscribes to it."""

    id: str
    name: str
    token: str
    image_url: str | None = None
    subscribed: bool = True


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
    elements_max: int = 1  # events of one page in one webhook
    private: float = 0.0  # people with a private profile
    faults: dict[SendFault, float] = field(default_factory=dict)  # per send
    calls_per_s_max: int | None = None  # sends of one page; above it 613

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

DEMO_PAGE = SimPage("204918377001", "Corner Bakery", "EAAPageCornerBakery00001", "https://cdn.example.net/bakery.png")


class SimOptions(Struct, frozen=True, kw_only=True):
    app_id: str = "990011"
    app_secret: str = "app-secret"  # noqa: S105 — of a simulation
    verify_token: str = "verify-me"  # noqa: S105
    pages: tuple[SimPage, ...] = (DEMO_PAGE,)
    user_token: str = "EAAUserTokenOfTheOwner01"  # noqa: S105 — lists all pages
    human_agent: bool = True  # the app has Meta's permission
    proof_required: bool = False  # calls without appsecret_proof are refused
    behaviour: Behaviour = Behaviour()
    seed: int = 0
    # customers
    customers: int = 0  # simulated people who write by themselves
    turns_ms: tuple[int, int] = (1_500, 6_000)  # time to write a message
    rest_ms: tuple[int, int] = (20_000, 60_000)  # between two topics of one customer
    # bounds
    journal_max: int = 100_000
    pending_max: int = 50_000  # unacknowledged webhooks; above it customers pause and sends are refused as busy
    # the HTTP server
    target_url: str | None = None  # where webhooks go, e.g. http://127.0.0.1:8080/facebook
    host: str = "127.0.0.1"
    port: int = 0
    posts_parallel_max: int = 8

    def __post_init__(self) -> None:
        if not self.pages:
            raise Refused("pages is empty: give at least one", field="pages")
        if not self.app_secret:
            raise Refused("the app secret is empty: webhooks could not be signed", field="app_secret")
