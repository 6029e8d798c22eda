"""Options of the simulated Viber."""

from typing import ClassVar

from airy.sim.provider.options import SimAccount, SimOptions

DEMO_VIBER_BOT = SimAccount(
    "pa:1234567890", "Corner Bakery", "4453b6ac12345678-e02c5f12174805f9-daec9cbb5448c51f", kind="viber"
)


class ViberOptions(SimOptions, frozen=True, kw_only=True):
    accounts: tuple[SimAccount, ...] = (DEMO_VIBER_BOT,)

    title: ClassVar[str] = "Viber"
