"""What all simulated providers share.

`SimServer` serves one over HTTP; `SimHttpClient` and `WebhookSender` are the same without sockets, on the caller's
clock.
"""

from airy.sim.provider.api import PendingWebhook, WebhookAnswer
from airy.sim.provider.core import SimulatedProvider
from airy.sim.provider.http_client import SimHttpClient
from airy.sim.provider.journal import SendCall, SendOutcome, SimJournal, WebhookAttempt
from airy.sim.provider.options import ROUGH, Behaviour, SendFault, SimAccount, SimOptions, WebhookFault
from airy.sim.provider.server import SimServer
from airy.sim.provider.webhook_sender import WebhookSender

__all__ = [
    "ROUGH",
    "Behaviour",
    "PendingWebhook",
    "SendCall",
    "SendFault",
    "SendOutcome",
    "SimAccount",
    "SimHttpClient",
    "SimJournal",
    "SimOptions",
    "SimServer",
    "SimulatedProvider",
    "WebhookAnswer",
    "WebhookAttempt",
    "WebhookFault",
    "WebhookSender",
]
