"""The simulated Google Business Messages."""

from airy.sim.google.options import DEMO_GOOGLE_AGENT, BusinessMessagesOptions
from airy.sim.google.provider import BusinessMessagesProvider

__all__ = ["DEMO_GOOGLE_AGENT", "BusinessMessagesOptions", "BusinessMessagesProvider"]
