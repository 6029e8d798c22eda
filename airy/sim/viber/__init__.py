"""The simulated Viber Bot API."""

from airy.sim.viber.options import DEMO_VIBER_BOT, ViberOptions
from airy.sim.viber.provider import ViberProvider

__all__ = ["DEMO_VIBER_BOT", "ViberOptions", "ViberProvider"]
