"""The simulated Graph API: pages, Instagram accounts and WhatsApp numbers of one Meta app."""

from airy.sim.graph.options import DEMO_INSTAGRAM, DEMO_NUMBER, DEMO_PAGE, GraphOptions
from airy.sim.graph.provider import GraphProvider

__all__ = ["DEMO_INSTAGRAM", "DEMO_NUMBER", "DEMO_PAGE", "GraphOptions", "GraphProvider"]
