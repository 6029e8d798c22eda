"""The demo's configuration, and the actors that connect its channels: everything over HTTP on loopback.

Providers, contacts and bot use the same interfaces as external programs. The permissions an installation must not have
(plain HTTP to private addresses) are granted here, for the demo only.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from airy.api_client import ApiClient
from airy.config import Config, WebhookEgressConfig
from airy.config_file import config_of_text
from airy.lifecycle import Lifecycle
from airy.sim.provider.setup import Connect, Setup, yaml
from airy.sources.catalogue import SOURCES


class ConnectedChannel(Struct, frozen=True):
    id: str


def demo_settings(config: Config, setups: Sequence[Setup], public_url: str) -> Config:
    """`config` with the sources of these simulated providers, and webhooks allowed to loopback."""
    given = config_of_text(yaml(*setups, public_url=public_url))
    enabled = {name for setup in setups for name in setup.sections}
    sections = [given.section(spec.section) for spec in SOURCES if spec.name in enabled]
    guard = WebhookEgressConfig(allow_private_addresses=True, allow_http=True, ports=())
    return replace(
        config.with_sections(*sections),
        http=replace(config.http, public_url=public_url),
        security=replace(config.security, webhooks=guard),
    )


class ChannelConnector:
    """An actor that connects one account through the API and ends. Its supervisor retries on `Unavailable`."""

    def __init__(self, client: ApiClient, connect: Connect) -> None:
        self.channel_id: str | None = None
        self._client = client
        self._connect = connect

    async def run(self, lifecycle: Lifecycle) -> None:
        path = f"/channels.{self._connect.kind}.connect"
        channel = await self._client.call(path, self._connect.body, ConnectedChannel)
        self.channel_id = channel.id
        lifecycle.ready()
