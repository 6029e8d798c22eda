"""Requests without a caller: limited by the address of the client, which only a trusted proxy may name."""

import pytest

from airy.errors import Refused
from airy.http.client_address import ClientLimiter, client_key, networks
from airy.rate_limit import RateLimits
from tests.kit.api import TOKEN, ApiHarness, api_harness
from tests.kit.asgi import call
from tests.kit.asgi_websocket import open_websocket
from tests.kit.signing import signature

LIMITS = RateLimits(requests_per_s=1, burst=2)
PROXY = "127.0.0.0/8"


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "key"),
    [
        ("192.0.2.7", "", [], "192.0.2.7"),
        ("192.0.2.7", "198.51.100.1", [], "192.0.2.7"),  # no proxy is trusted
        ("192.0.2.7", "198.51.100.1", ["10.0.0.0/8"], "192.0.2.7"),  # this is none
        ("10.0.0.1", "198.51.100.1", ["10.0.0.0/8"], "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", ["10.0.0.0/8"], "198.51.100.1"),  # the client claims the first
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", ["10.0.0.0/8"], "198.51.100.1"),  # two proxies
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", ["10.0.0.0/8"], "10.0.0.3"),
        ("10.0.0.1", "", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "unknown", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", ["10.0.0.0/8"], "198.51.100.1"),
        ("::1", "[2001:db8:1:2:3::4]:4711", ["::1"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "", [], "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "198.51.100.1", ["10.0.0.0/8"], "198.51.100.1"),
        ("", "198.51.100.1", ["10.0.0.0/8"], ""),  # a local socket
        ("10.0.0.1", ", ".join(["10.0.0.2"] * 5_000), ["10.0.0.0/8"], "10.0.0.2"),
    ],
)
def test_the_address_of_a_client(peer: str, forwarded: str, trusted: list[str], key: str) -> None:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []

    assert client_key(peer, headers, networks(trusted)) == key


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.300", "10.0.0.0/33"])
def test_a_network_that_is_none_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(Refused, match=r"http\.trustedProxies"):
        ClientLimiter(trusted_proxies=[text])


async def statuses(api: ApiHarness, path: str, count: int, **headers: str) -> list[int]:
    given = [(name.replace("_", "-"), value) for name, value in headers.items()]
    method = "POST" if "." in path and not path.startswith("/schema") else "GET"
    return [(await call(api.app, method, path, headers=given)).status for _ in range(count)]


@pytest.mark.parametrize("path", ["/schema/openapi.json", "/login", "/media/none", "/chatplugin.authenticate"])
async def test_open_routes_are_limited_by_address(path: str) -> None:
    async with api_harness(anonymous_limits=LIMITS) as api:
        found = await statuses(api, path, 4)
        assert 429 not in found[:2]
        assert found[2:] == [429, 429]
        refused = await call(api.app, "GET", "/schema/openapi.json")
        assert (refused.headers["retry-after"], refused.json()["code"]) == ("1", "rate_limited")
        assert api.app.rejected["rate_limited"] == 3


async def test_guesses_of_a_token_are_limited_and_valid_ones_are_not() -> None:
    async with api_harness(anonymous_limits=LIMITS) as api:
        assert await statuses(api, "/tags.list", 3, authorization="Bearer guessed") == [403, 403, 429]
        async with open_websocket(api.app, "/events", [("authorization", "Bearer guessed")]) as socket:
            assert socket.rejection is not None
            assert socket.rejection.status == 429
        assert await statuses(api, "/tags.list", 3, authorization=f"Bearer {TOKEN}") == [200] * 3


async def test_clients_of_a_trusted_proxy_have_limits_of_their_own() -> None:
    async with api_harness(anonymous_limits=LIMITS, trusted_proxies=[PROXY]) as api:
        path = "/schema/openapi.json"
        assert await statuses(api, path, 3, x_forwarded_for="192.0.2.1") == [200, 200, 429]
        assert await statuses(api, path, 3, x_forwarded_for="192.0.2.2") == [200, 200, 429]
        assert await statuses(api, path, 1, x_forwarded_for="192.0.2.3, 192.0.2.2") == [429]


async def test_the_header_of_an_unknown_proxy_gives_no_new_limit() -> None:
    async with api_harness(anonymous_limits=LIMITS) as api:
        path = "/schema/openapi.json"
        found = [await statuses(api, path, 1, x_forwarded_for=f"192.0.2.{number}") for number in range(3)]
        assert found == [[200], [200], [429]]


async def test_webhooks_of_providers_and_probes_are_exempt() -> None:
    async with api_harness(anonymous_limits=LIMITS) as api:
        await statuses(api, "/schema/openapi.json", 3)
        signed = [("x-hub-signature-256", signature(b"{}").decode())]
        found = {(await call(api.app, "POST", "/facebook", body=b"{}", headers=signed)).status for _ in range(4)}
        assert found == {200}
        for path in ("/livez", "/readyz", "/actuator/health"):
            assert await statuses(api, path, 4) == [200] * 4
