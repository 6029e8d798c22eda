"""The simulated RCS for Business."""

from airy.sim.rcs.options import DEMO_RCS_AGENT, RcsOptions
from airy.sim.rcs.provider import RcsProvider

__all__ = ["DEMO_RCS_AGENT", "RcsOptions", "RcsProvider"]
