"""Credentials as the original's own tests and clients present them, over real HTTP."""

import pytest

from airy.http.auth import OpenAccess
from tests.kit.api import JWT_SECRET, ORIGIN, TOKEN
from tests.kit.conformance import CLIENT_HEADERS, Installation, installation
from tests.kit.jwt import signed_token, token_claims

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


async def status(airy: Installation, **headers: str) -> int:
    return (await airy.send("POST", "/conversations.list", headers=CLIENT_HEADERS | headers)).status


async def test_lib_7_a1_a2_a3_tokens_open_the_api_and_nothing_else_does() -> None:
    async with installation() as airy:
        assert await status(airy) == 403
        assert await status(airy, Authorization="a-wrong-token-of-thirty-two-chars") == 403
        assert await status(airy, Authorization=TOKEN) == 200
        assert await status(airy, Authorization=f"Bearer {TOKEN}") == 200
        signed = signed_token(token_claims("my-bot"), JWT_SECRET)
        assert await status(airy, Authorization=f"Bearer {signed}") == 200


async def test_lib_7_a4_a_preflight_echoes_the_origin() -> None:
    """Of an origin that is listed: the original's `*` is refused at the start, see deviations.md."""
    async with installation() as airy:
        preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
        answer = await airy.send("OPTIONS", "/conversations.list", headers=preflight)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert answer.headers["access-control-allow-credentials"] == "true"
        foreign = await airy.send(
            "OPTIONS", "/conversations.list", headers=preflight | {"Origin": "http://example.org"}
        )
        assert foreign.status == 403


async def test_lib_7_a5_an_open_installation_needs_no_credentials() -> None:
    async with installation(authenticators=[OpenAccess()]) as airy:
        assert await status(airy) == 200
