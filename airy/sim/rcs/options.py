"""Options of the simulated RCS for Business."""

from typing import ClassVar

from airy.sim.google_api.options import GoogleApiOptions
from airy.sim.provider.options import SimAccount

DEMO_RCS_AGENT = SimAccount("corner_bakery_agent", "Corner Bakery", "", kind="rcs")


class RcsOptions(GoogleApiOptions, frozen=True, kw_only=True):
    """`webhook_key` is the client token."""

    accounts: tuple[SimAccount, ...] = (DEMO_RCS_AGENT,)
    webhook_key: str = "client-token-of-the-bakery"

    title: ClassVar[str] = "RCS"
