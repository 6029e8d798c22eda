"""A simulated Messenger: the Graph API a source calls, and the webhooks it receives.

`MessengerSim` serves it over HTTP; `MessengerCore` with `SimHttpClient` and `WebhookSender` is the same without
sockets, on the caller's clock. It shares no code with the source, so that tests check the protocol alone.
"""

from airy.sim.messenger.core import MessengerCore, PendingWebhook
from airy.sim.messenger.http_client import SimHttpClient
from airy.sim.messenger.journal import SendCall, SendOutcome, SimJournal, WebhookAttempt
from airy.sim.messenger.options import DEMO_PAGE, ROUGH, Behaviour, SendFault, SimOptions, SimPage
from airy.sim.messenger.server import MessengerSim, run_messenger_sim
from airy.sim.messenger.webhook_sender import WebhookSender

__all__ = [
    "DEMO_PAGE",
    "ROUGH",
    "Behaviour",
    "MessengerCore",
    "MessengerSim",
    "PendingWebhook",
    "SendCall",
    "SendFault",
    "SendOutcome",
    "SimHttpClient",
    "SimJournal",
    "SimOptions",
    "SimPage",
    "WebhookAttempt",
    "WebhookSender",
    "run_messenger_sim",
]
