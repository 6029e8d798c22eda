"""A Messenger to talk to without Meta: the Graph API a source calls, and the webhooks a source receives.

`MessengerSim` serves it over HTTP; `MessengerCore` with `SimFetch` and `WebhookPump` is the same thing
without sockets, in whatever time the caller's clock has. Nothing here shares code with the source: it is
judged by the protocol alone.
"""

from airy.sim.messenger.core import MessengerCore, Post
from airy.sim.messenger.fetch import SimFetch
from airy.sim.messenger.journal import Journal, Posting, Sending, Verdict
from airy.sim.messenger.options import DEMO_PAGE, ROUGH, Behaviour, Fault, Page, SimOptions
from airy.sim.messenger.pump import WebhookPump
from airy.sim.messenger.server import MessengerSim, run_messenger_sim

__all__ = [
    "DEMO_PAGE",
    "ROUGH",
    "Behaviour",
    "Fault",
    "Journal",
    "MessengerCore",
    "MessengerSim",
    "Page",
    "Post",
    "Posting",
    "Sending",
    "SimFetch",
    "SimOptions",
    "Verdict",
    "WebhookPump",
    "run_messenger_sim",
]
