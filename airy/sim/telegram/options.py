"""Options of the simulated Bot API."""

from typing import ClassVar

from airy.sim.provider.options import SimAccount, SimOptions

DEMO_BOT = SimAccount("700100200", "Corner Bakery", "700100200:AAtelegram-token_0123456789", kind="telegram")


class TelegramOptions(SimOptions, frozen=True, kw_only=True):
    """`https_only`: webhooks have to be https, as at Telegram itself; a self-hosted Bot API server takes any."""

    accounts: tuple[SimAccount, ...] = (DEMO_BOT,)
    https_only: bool = False

    title: ClassVar[str] = "Telegram"
