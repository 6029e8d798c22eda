"""Options of the simulated Business Messages."""

from typing import ClassVar

from airy.sim.google_api.options import GoogleApiOptions
from airy.sim.provider.options import SimAccount

DEMO_GOOGLE_AGENT = SimAccount("agent-7f3a", "Corner Bakery", "", kind="google", owner_id="brand-1")


class BusinessMessagesOptions(GoogleApiOptions, frozen=True, kw_only=True):
    """`webhook_key` is the partner key."""

    accounts: tuple[SimAccount, ...] = (DEMO_GOOGLE_AGENT,)
    webhook_key: str = "partner-key-of-the-bakery"

    title: ClassVar[str] = "Business Messages"
