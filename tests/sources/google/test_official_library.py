"""Google's own library for service accounts agrees with us about assertions, and with the simulated token endpoint."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from google.auth.exceptions import RefreshError
from google.oauth2.service_account import Credentials
from joserfc import jwt
from joserfc.jwk import RSAKey
from msgspec import Struct

from airy.clock import LoopClock, SystemClock
from airy.sim.google_api import service_account
from airy.sim.google_api.provider import GoogleApi
from airy.sim.provider import Behaviour
from airy.sources.api import Target
from tests.kit.providers import WIRES
from tests.kit.providers.google import private_key
from tests.kit.providers.google import service_account as key_of_the_wire
from tests.kit.scripted_provider import ScriptedProvider
from tests.kit.simulated import PROVIDERS

KINDS = pytest.mark.parametrize("kind", ["google", "rcs"])


class Answer(Struct):
    """What the library wants of its HTTP client."""

    status: int
    data: bytes
    headers: dict[str, str] = {}


def now_ms() -> int:
    return SystemClock().now_ms()  # the library dates its assertions by the clock of the machine


def simulated(kind: str) -> GoogleApi[Any]:
    core = PROVIDERS[kind](Behaviour())
    assert isinstance(core, GoogleApi)
    return core


def credentials(core: GoogleApi[Any]) -> Credentials:
    key = {**msgspec.json.decode(service_account.made()), "token_uri": f"{core.default_address}/token"}
    made: Credentials = Credentials.from_service_account_info(key, scopes=[core.scope])
    return made


def refresh(core: GoogleApi[Any], of: Credentials) -> dict[str, str]:
    """The headers of calls with the token that the library got."""

    def request(url: str, method: str = "GET", body: bytes = b"", headers: Mapping[str, str] = {}, **_: Any) -> Answer:
        reply = core.call(method, url, {name.lower(): text for name, text in headers.items()}, body, now_ms())
        assert reply.status is not None
        return Answer(reply.status, reply.body)

    of.refresh(request)
    carried: dict[str, str] = {}
    of.apply(carried)
    return carried


@KINDS
def test_the_simulated_token_endpoint_issues_a_token_to_googles_library(kind: str) -> None:
    core = simulated(kind)
    headers = refresh(core, credentials(core))

    reply = core.call("GET", f"{core.default_address}/v1/unknown", headers, b"", now_ms())
    assert reply.status in {403, 404}  # and not 401


@KINDS
def test_googles_library_reads_the_simulated_refusal(kind: str) -> None:
    core = simulated(kind)
    with pytest.raises(RefreshError, match="invalid_scope"):
        refresh(core, credentials(core).with_scopes(["https://www.googleapis.com/auth/drive"]))


@KINDS
async def test_our_assertion_is_that_of_googles_library(kind: str) -> None:
    wire = WIRES[kind]
    client = ScriptedProvider(type(wire)(), LoopClock())
    target = Target(channel=wire.channel(next(iter(wire.accounts.values()))))
    await wire.source().authorize(client, target, now_ms())
    (ours,) = client.requests

    scope = simulated(kind).scope
    key = {**msgspec.json.decode(key_of_the_wire()), "token_uri": "https://oauth2.googleapis.com/token"}
    theirs: list[str] = []

    def request(body: bytes, **_: Any) -> Answer:
        theirs.extend(parse_qs(body.decode())["assertion"])
        return Answer(200, b'{"access_token": "t", "expires_in": 3599}')

    Credentials.from_service_account_info(key, scopes=[scope]).refresh(request)
    known = RSAKey.import_key(private_key())
    one, other = (
        jwt.decode(assertion, known, algorithms=["RS256"]) for assertion in (str(ours.fields["assertion"]), theirs[0])
    )
    times = ("iat", "exp")
    assert one.header == other.header
    assert {name: text for name, text in one.claims.items() if name not in times} == {
        name: text for name, text in other.claims.items() if name not in times
    }
    assert one.claims["exp"] - one.claims["iat"] == other.claims["exp"] - other.claims["iat"]
