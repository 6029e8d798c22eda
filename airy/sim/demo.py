"""The demonstration: Airy between a simulated Messenger and a bot, everything over HTTP on loopback.

Nothing here is on the inside: a page is connected, contacts write and a bot answers the way a customer's
own programs would do it. What the demonstration needs that an installation must not have (plain HTTP to
private addresses) is granted here, in one place, and only to it.
"""

from msgspec import Struct
from msgspec.structs import replace

from airy.client import Client
from airy.config import Config, FacebookComponent, WebhookGuard
from airy.secret import Secret
from airy.sim.bot import Lifetime


class Connected(Struct, frozen=True):
    id: str


def settings(config: Config, *, graph_url: str, app_id: str, app_secret: str, verify_token: str) -> Config:
    """`config` with Messenger switched on against a simulated one, and webhooks allowed to loopback."""
    facebook = FacebookComponent(
        enabled=True,
        app_id=app_id,
        app_secret=(Secret(app_secret),),
        webhook_secret=Secret(verify_token),
        graph_url=graph_url,
        graph_version=config.components.sources_facebook.graph_version,
    )
    guard = WebhookGuard(allow_private_addresses=True, allow_http=True, ports=())
    return replace(
        config,
        components=replace(config.components, sources_facebook=facebook),
        security=replace(config.security, webhooks=guard),
    )


class PageConnector:
    """An actor: connects one page through the API, then is done. Tried again on `Unavailable`."""

    def __init__(self, client: Client, page_id: str, page_token: str) -> None:
        self.channel_id: str | None = None
        self._client = client
        self._page_id = page_id
        self._page_token = page_token

    async def run(self, life: Lifetime) -> None:
        body = {"page_id": self._page_id, "page_token": self._page_token}
        channel = await self._client.call("/channels.facebook.connect", body, Connected)
        self.channel_id = channel.id
        life.ready()
