"""The simulated Telegram Bot API."""

from airy.sim.telegram.options import DEMO_BOT, TelegramOptions
from airy.sim.telegram.provider import TelegramProvider

__all__ = ["DEMO_BOT", "TelegramOptions", "TelegramProvider"]
