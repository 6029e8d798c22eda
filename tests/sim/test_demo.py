"""The demonstration's settings and its page: granted what it needs, and only there."""

import msgspec
import pytest

from airy.api_client import ApiClient
from airy.config import Config
from airy.config_file import load
from airy.errors import Unavailable
from airy.http_client import ConnectFailed, Response
from airy.sim.demo import PageConnector, demo_settings
from airy.sources.facebook.spec import FacebookSection


def test_the_demonstration_points_messenger_at_the_simulation_and_opens_loopback_to_webhooks() -> None:
    config = demo_settings(Config(), graph_url="http://127.0.0.1:9", app_id="1", app_secret="s" * 20, verify_token="v")

    facebook = config.section(FacebookSection)
    assert facebook.enabled
    assert facebook.graph_url == "http://127.0.0.1:9"
    assert [secret.reveal() for secret in facebook.app_secret] == ["s" * 20]
    assert config.security.webhooks.allow_private_addresses
    assert config.security.webhooks.allow_http


def test_everything_else_stays_as_configured() -> None:
    before = load(None, {"AIRY_PORT": "9", "AIRY_SYSTEM_TOKEN": "a-token-of-some-length"})
    after = demo_settings(before, graph_url="http://x", app_id="1", app_secret="s", verify_token="v")

    assert (after.http, after.bus, after.data, after.log) == (before.http, before.bus, before.data, before.log)
    assert after.security.system_token == before.security.system_token
    assert not Config().security.webhooks.allow_private_addresses


class FakeLifecycle:
    def __init__(self) -> None:
        self.times_ready = 0

    def ready(self) -> None:
        self.times_ready += 1


async def test_a_page_is_connected_through_the_api_and_a_failure_is_left_to_the_supervisor() -> None:
    asked: list[dict[str, str]] = []

    async def fetch(method: str, url: str, *, body: bytes | None = None, **_: object) -> Response:
        if not asked:
            asked.append({})
            raise ConnectFailed("not listening yet")
        assert url == "http://airy/channels.facebook.connect"
        asked.append(msgspec.json.decode(body or b""))
        return Response(200, {}, b'{"id": "channel-1", "connected": true}')

    connector, lifecycle = PageConnector(ApiClient(fetch, "http://airy", None), "page", "token"), FakeLifecycle()  # type: ignore[arg-type]

    with pytest.raises(Unavailable):
        await connector.run(lifecycle)  # type: ignore[arg-type]
    await connector.run(lifecycle)  # type: ignore[arg-type]

    assert asked[1] == {"page_id": "page", "page_token": "token"}
    assert (connector.channel_id, lifecycle.times_ready) == ("channel-1", 1)
