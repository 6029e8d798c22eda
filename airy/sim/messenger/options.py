"""What a simulated Messenger is made of: pages, one app, and how badly the world behaves.

All chances are seeded, and each is drawn for the thing it is about (a message, an event), never from one
shared stream: the same seed treats the same message the same way, in whatever order calls arrive.
"""

from enum import StrEnum

from msgspec import Struct, field

from airy.errors import Refused


class Fault(StrEnum):
    """What can go wrong with a call, and whether the message was taken nevertheless."""

    RATE_LIMITED = "rate_limited"  # 613; not taken
    BUSY = "busy"  # 500 with Graph's own error; not taken
    GATEWAY = "gateway"  # 502 from somebody in between; a seeded coin decides whether it was taken
    GARBLED = "garbled"  # 200 with half a body; taken
    TAKEN_SILENT = "taken_silent"  # no answer at all; taken
    LOST_SILENT = "lost_silent"  # no answer at all; not taken
    UNREACHABLE = "unreachable"  # no connection; not taken
    BLOCKED = "blocked"  # the person does not want messages; not taken
    OUTSIDE_WINDOW = "outside_window"  # not taken
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 — a word, not a token; not taken


class Page(Struct, frozen=True):
    """A Facebook page. One that is not `subscribed` posts nothing until somebody subscribes it."""

    id: str
    name: str
    token: str
    image_url: str | None = None
    subscribed: bool = True


class Behaviour(Struct, frozen=True, kw_only=True):
    """Chances are between 0 and 1, times in milliseconds; the defaults are a good day."""

    latency_ms: tuple[int, int] = (20, 120)  # of an answer
    event_ms: tuple[int, int] = (50, 400)  # until an event is posted
    echoes: bool = True
    delivered: float = 1.0
    read: float = 0.8
    late: float = 0.0  # receipts that come late
    late_ms: int = 600_000
    duplicated: float = 0.0  # webhooks that are posted again although they were answered
    copies_max: int = 5
    reordered: float = 0.0  # events that are held back while later ones pass
    reordered_ms: int = 3_000
    elements_max: int = 1  # events of one page in one webhook
    private: float = 0.0  # people whose profile is not shown
    faults: dict[Fault, float] = field(default_factory=dict)  # per send
    calls_per_s_max: int | None = None  # sends of one page; beyond it 613

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
                raise Refused(f"{name} is a chance between 0 and 1, not {chance}", field=name)


ROUGH = Behaviour(
    read=0.5,
    late=0.2,
    late_ms=20_000,
    duplicated=0.3,
    reordered=0.3,
    elements_max=3,
    private=0.1,
    faults={
        Fault.RATE_LIMITED: 0.05,
        Fault.BUSY: 0.05,
        Fault.GATEWAY: 0.02,
        Fault.GARBLED: 0.02,
        Fault.TAKEN_SILENT: 0.04,
        Fault.LOST_SILENT: 0.04,
        Fault.UNREACHABLE: 0.05,
    },
)
"""A bad day, with everything that must not matter."""

DEMO_PAGE = Page("204918377001", "Corner Bakery", "EAAPageCornerBakery00001", "https://cdn.example.net/bakery.png")


class SimOptions(Struct, frozen=True, kw_only=True):
    app_id: str = "990011"
    app_secret: str = "app-secret"  # noqa: S105 — of a simulation
    verify_token: str = "verify-me"  # noqa: S105
    pages: tuple[Page, ...] = (DEMO_PAGE,)
    user_token: str = "EAAUserTokenOfTheOwner01"  # noqa: S105 — lists all pages
    human_agent: bool = True  # the app has Meta's permission
    proof_required: bool = False  # calls without appsecret_proof are refused
    behaviour: Behaviour = Behaviour()
    seed: int = 0
    # customers
    customers: int = 0  # people with something to say
    turns_ms: tuple[int, int] = (1_500, 6_000)  # how long they take to write
    rest_ms: tuple[int, int] = (20_000, 60_000)  # between two of their topics
    # bounds
    journal_max: int = 100_000
    pending_max: int = 50_000  # events not yet posted; beyond it customers fall silent and sends are refused as busy
    # the HTTP shell
    target_url: str | None = None  # where webhooks go, e.g. http://127.0.0.1:8080/facebook
    host: str = "127.0.0.1"
    port: int = 0
    posts_parallel_max: int = 8

    def __post_init__(self) -> None:
        if not self.pages:
            raise Refused("a Messenger without pages has nothing to do: give at least one", field="pages")
        if not self.app_secret:
            raise Refused("the app secret is empty: nothing could be signed", field="app_secret")
