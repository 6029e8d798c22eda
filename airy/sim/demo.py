"""The demo's configuration, and the actor that connects its page: everything over HTTP on loopback.

Page, contacts and bot use the same interfaces as external programs. The permissions an installation must not have
(plain HTTP to private addresses) are granted here, for the demo only.
"""

from msgspec import Struct
from msgspec.structs import replace

from airy.api_client import ApiClient
from airy.config import Config, WebhookEgressConfig
from airy.lifecycle import Lifecycle
from airy.secret import Secret
from airy.sources.facebook.spec import FacebookSection


class ConnectedChannel(Struct, frozen=True):
    id: str


def demo_settings(config: Config, *, graph_url: str, app_id: str, app_secret: str, verify_token: str) -> Config:
    """`config` with the Facebook source against a simulated Messenger, and webhooks allowed to loopback."""
    facebook = FacebookSection(
        enabled=True,
        app_id=app_id,
        app_secret=(Secret(app_secret),),
        webhook_secret=Secret(verify_token),
        graph_url=graph_url,
        graph_version=config.section(FacebookSection).graph_version,
    )
    guard = WebhookEgressConfig(allow_private_addresses=True, allow_http=True, ports=())
    return replace(config.with_sections(facebook), security=replace(config.security, webhooks=guard))


class PageConnector:
    """An actor that connects one page through the API and ends. Its supervisor retries on `Unavailable`."""

    def __init__(self, client: ApiClient, page_id: str, page_token: str) -> None:
        self.channel_id: str | None = None
        self._client = client
        self._page_id = page_id
        self._page_token = page_token

    async def run(self, lifecycle: Lifecycle) -> None:
        body = {"page_id": self._page_id, "page_token": self._page_token}
        channel = await self._client.call("/channels.facebook.connect", body, ConnectedChannel)
        self.channel_id = channel.id
        lifecycle.ready()
