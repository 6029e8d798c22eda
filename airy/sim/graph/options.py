"""Options of the simulated Graph API: one Meta app with pages, Instagram accounts and WhatsApp numbers."""

from typing import ClassVar

from airy.errors import Refused
from airy.sim.provider.options import SimAccount, SimOptions

FACEBOOK, INSTAGRAM, WHATSAPP = "facebook", "instagram", "whatsapp"

DEMO_PAGE = SimAccount(
    "204918377001", "Corner Bakery", "EAAPageCornerBakery00001", "https://cdn.example.net/bakery.png", kind=FACEBOOK
)
DEMO_INSTAGRAM = SimAccount(
    "17841400008460056", "corner.bakery", "EAAPageCornerBakery00001", kind=INSTAGRAM, owner_id=DEMO_PAGE.id
)
DEMO_NUMBER = SimAccount(
    "108811223344556",
    "+49 30 12345678",
    "EAASystemUserOfTheBakery1",
    kind=WHATSAPP,
    owner_id="102290129340398",  # its WhatsApp business account
)


class GraphOptions(SimOptions, frozen=True, kw_only=True):
    """Without a kind, an account is a Facebook page; an Instagram account without an owner has Instagram Login."""

    accounts: tuple[SimAccount, ...] = (DEMO_PAGE,)
    app_id: str = "990011"
    app_secret: str = "app-secret"  # noqa: S105 — of a simulation
    verify_token: str = "verify-me"  # noqa: S105
    user_token: str = "EAAUserTokenOfTheOwner01"  # noqa: S105 — lists all pages
    human_agent: bool = True  # the app has Meta's permission
    proof_required: bool = False  # calls without appsecret_proof are refused

    title: ClassVar[str] = "Graph"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.app_secret:
            raise Refused("the app secret is empty: webhooks could not be signed", field="app_secret")


def kind_of(account: SimAccount) -> str:
    return account.kind or FACEBOOK
