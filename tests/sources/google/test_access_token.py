"""Tokens of service accounts: exchanged, kept, replaced in time; and what connecting checks with one."""

import json
from typing import Any

import anyio
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from airy.clock import LoopClock
from airy.errors import Refused, Unavailable
from airy.http_client import Response
from airy.secret import Secret
from airy.sources.api import Installation, Target
from airy.sources.google.spec import ConnectAgent, GoogleSection
from tests.kit.providers import WIRES
from tests.kit.providers.base import PUBLIC_URL
from tests.kit.providers.google import ACCESS_TOKEN, AGENT, EMAIL, private_key, service_account
from tests.kit.scripted_provider import ScriptedProvider

WIRE = WIRES["google"]
NOW_MS = 1_735_689_600_000
HERE = Installation(derived_secret=lambda _: Secret("unused"), public_url=PUBLIC_URL, now_ms=lambda: NOW_MS)


def provider() -> ScriptedProvider:
    return ScriptedProvider(type(WIRE)(), LoopClock())


def source(key: str | None = None) -> Any:
    section = GoogleSection(sa_file=None if key is None else Secret(key))
    return WIRE.spec.load()(section, PUBLIC_URL)


def target(**credentials: str) -> Target:
    given = {name: Secret(text) for name, text in credentials.items()}
    return Target(channel=WIRE.channel(AGENT), credentials=given)


async def test_a_signed_assertion_is_exchanged_for_a_token() -> None:
    client = provider()
    authorized = await source(service_account()).authorize(client, target(), NOW_MS)
    assert authorized.credentials["access_token"].reveal() == ACCESS_TOKEN

    (request,) = client.requests
    assert request.url == "https://oauth2.googleapis.com/token"
    assert request.fields["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    token = jwt.decode(str(request.fields["assertion"]), RSAKey.import_key(private_key()), algorithms=["RS256"])
    assert token.header == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert token.claims == {
        "iss": EMAIL,
        "scope": "https://www.googleapis.com/auth/businessmessages",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": NOW_MS // 1000,
        "exp": NOW_MS // 1000 + 3600,
    }


async def test_a_token_is_kept_until_shortly_before_it_expires() -> None:
    client, google = provider(), source(service_account())
    for later_ms, exchanges in ((0, 1), (3_538_000, 1), (3_539_000, 2), (3_540_000, 2)):
        await google.authorize(client, target(), NOW_MS + later_ms)
        assert len(client.requests) == exchanges


@pytest.mark.parametrize("name", ["google", "rcs"])
async def test_a_token_that_was_refused_is_exchanged_again(name: str) -> None:
    wire = WIRES[name]
    client, refusing = ScriptedProvider(type(wire)(), LoopClock()), wire.source()
    channel = Target(channel=wire.channel(next(iter(wire.accounts.values()))))
    for status, exchanges in ((200, 1), (403, 1), (401, 1), (401, 2)):
        await refusing.authorize(client, channel, NOW_MS)
        assert len(client.requests) == exchanges
        refusing.interpret([Response(status, {}, b"{}")], NOW_MS)


async def test_concurrent_sends_wait_for_one_exchange() -> None:
    client, google = provider(), source(service_account())
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(google.authorize, client, target(), NOW_MS)
    assert len(client.requests) == 1


async def test_a_channel_has_the_token_of_its_own_service_account() -> None:
    own = json.dumps({**json.loads(service_account()), "client_email": "own@example.org"})
    client, google = provider(), source(service_account())
    await google.authorize(client, target(), NOW_MS)
    await google.authorize(client, target(service_account=own), NOW_MS)
    issuers = [
        jwt.decode(str(each.fields["assertion"]), RSAKey.import_key(private_key()), algorithms=["RS256"]).claims["iss"]
        for each in client.requests
    ]
    assert issuers == [EMAIL, "own@example.org"]


async def test_without_a_service_account_nothing_is_asked() -> None:
    client = provider()
    assert await source().authorize(client, target(), NOW_MS) == target()
    assert client.requests == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        "{",
        "[]",
        '{"client_email":"x"}',
        '{"client_email":"x","private_key":"secret-words"}',
        '{"client_email":"x","private_key":"-----BEGIN PRIVATE KEY-----\\nsecret-words\\n-----END PRIVATE KEY-----"}',
    ],
)
async def test_a_key_that_cannot_be_used_is_refused_without_being_quoted(key: str) -> None:
    client = provider()
    with pytest.raises(Refused) as refused:
        await source(key).authorize(client, target(), NOW_MS)
    assert refused.value.field == "service_account"
    assert "secret-words" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert client.requests == []


@pytest.mark.parametrize(
    ("status", "body", "wanted", "said"),
    [
        (400, b'{"error":"invalid_grant","error_description":"Invalid JWT Signature."}', Refused, "Invalid JWT Sign"),
        (401, b'{"error":"invalid_client"}', Refused, "invalid_client"),
        (429, b"slow down", Unavailable, "slow down"),
        (503, b"<title>Busy</title>", Unavailable, "Busy"),
        (200, b'{"access_token":"x"}', Unavailable, "answered 200"),
        (200, b'{"access_token":5,"expires_in":3599}', Unavailable, "answered 200"),
    ],
)
async def test_what_google_answers_decides_who_has_to_act(
    status: int, body: bytes, wanted: type[Exception], said: str
) -> None:
    async def answers(*_: object, **__: object) -> Response:
        return Response(status, {}, body)

    with pytest.raises(wanted, match=said):
        await source(service_account()).authorize(answers, target(), NOW_MS)


# --- connecting


async def test_an_agent_is_connected_under_its_id_and_the_address_is_left_to_paste() -> None:
    form = ConnectAgent(
        gbm_id=f"brands/b-1/agents/{AGENT}",
        name="Bakery",
        service_account=Secret(service_account()),
        partner_key=Secret("own key"),
    )
    done = await source().connect(provider(), "google", form, HERE)
    assert (done.account, done.name) == (AGENT, "Bakery")
    assert set(done.credentials) == {"service_account", "partner_key"}
    assert [(each.name, each.value.reveal()) for each in done.settings] == [("webhook_url", f"{PUBLIC_URL}/google")]


async def test_an_archive_needs_no_service_account() -> None:
    client = provider()
    done = await source().connect(client, "google", ConnectAgent(gbm_id=AGENT, name="Bakery"), HERE)
    assert (done.account, done.credentials) == (AGENT, {})
    assert "none is sent" in done.instructions
    assert client.requests == []


@pytest.mark.parametrize("gbm_id", ["", " ", "a/b", "brands/b/agents/", "a b", "x" * 129])
async def test_what_is_no_agent_is_refused(gbm_id: str) -> None:
    with pytest.raises(Refused) as refused:
        await source().connect(provider(), "google", ConnectAgent(gbm_id=gbm_id, name="Bakery"), HERE)
    assert refused.value.field == "gbm_id"
