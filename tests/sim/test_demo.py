"""The demonstration's settings and its page: granted what it needs, and only there."""

import msgspec
import pytest

from airy.api_client import ApiClient
from airy.config import Config
from airy.config_file import load
from airy.errors import Unavailable
from airy.http_client import ConnectFailed, Response
from airy.sim.demo import ChannelConnector, demo_settings
from airy.sim.graph import DEMO_NUMBER, DEMO_PAGE, GraphOptions, GraphProvider
from airy.sim.provider.setup import Connect
from airy.sim.telegram import TelegramOptions, TelegramProvider
from airy.sources.facebook.spec import FacebookSection
from airy.sources.telegram.spec import TelegramSection

SETUPS = (
    GraphProvider(GraphOptions(accounts=(DEMO_PAGE, DEMO_NUMBER))).setup("http://127.0.0.1:9"),
    TelegramProvider(TelegramOptions()).setup("http://127.0.0.1:10"),
)


def test_the_demonstration_points_sources_at_the_simulation_and_opens_loopback_to_webhooks() -> None:
    config = demo_settings(Config(), SETUPS, "http://127.0.0.1:8080")

    facebook, telegram = config.section(FacebookSection), config.section(TelegramSection)
    assert (facebook.enabled, facebook.graph_url) == (True, "http://127.0.0.1:9")
    assert [secret.reveal() for secret in facebook.app_secret] == ["app-secret"]
    assert (telegram.enabled, telegram.api_url) == (True, "http://127.0.0.1:10")
    assert config.http.public_url == "http://127.0.0.1:8080"
    assert config.security.webhooks.allow_private_addresses
    assert config.security.webhooks.allow_http


def test_everything_else_stays_as_configured() -> None:
    before = load(None, {"AIRY_PORT": "9", "AIRY_SYSTEM_TOKEN": "a-token-of-some-length"})
    after = demo_settings(before, SETUPS, "http://127.0.0.1:9")

    assert (after.bus, after.data, after.log, after.http.port) == (before.bus, before.data, before.log, 9)
    assert after.security.system_token == before.security.system_token
    assert not Config().security.webhooks.allow_private_addresses


class FakeLifecycle:
    def __init__(self) -> None:
        self.times_ready = 0

    def ready(self) -> None:
        self.times_ready += 1


async def test_a_channel_is_connected_through_the_api_and_a_failure_is_left_to_the_supervisor() -> None:
    asked: list[dict[str, str]] = []

    async def fetch(method: str, url: str, *, body: bytes | None = None, **_: object) -> Response:
        if not asked:
            asked.append({})
            raise ConnectFailed("not listening yet")
        assert url == "http://airy/channels.facebook.connect"
        asked.append(msgspec.json.decode(body or b""))
        return Response(200, {}, b'{"id": "channel-1", "connected": true}')

    connect = Connect("facebook", {"page_id": "page", "page_token": "token"})
    connector = ChannelConnector(ApiClient(fetch, "http://airy", None), connect)  # type: ignore[arg-type]
    lifecycle = FakeLifecycle()

    with pytest.raises(Unavailable):
        await connector.run(lifecycle)  # type: ignore[arg-type]
    await connector.run(lifecycle)  # type: ignore[arg-type]

    assert asked[1] == {"page_id": "page", "page_token": "token"}
    assert (connector.channel_id, lifecycle.times_ready) == ("channel-1", 1)
