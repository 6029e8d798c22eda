"""The simulated APIs of Google: tokens, the check of an address, signatures, redelivery, and what each refuses."""

import hmac
from base64 import b64decode, b64encode
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import RSAKey

from airy.errors import Refused
from airy.sim.google import BusinessMessagesOptions, BusinessMessagesProvider
from airy.sim.google_api import service_account
from airy.sim.provider import Behaviour, SimServer, WebhookAnswer
from airy.sim.provider.acts import Blocks, Reacts, Says, SendsMedia, Types
from airy.sim.rcs import RcsOptions, RcsProvider
from airy.sources.catalogue import SOURCES
from tests.kit.providers.google import private_key
from tests.kit.simulated import PROVIDERS
from tests.sim_provider.test_providers import HOUR_MS, START_MS, attempts

DAY_MS = 24 * HOUR_MS
PROMPT = Behaviour(latency_ms=(0, 0), event_ms=(0, 0), read=1.0)
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_URL = f"{BusinessMessagesProvider.default_address}/token"
KEY: dict[str, Any] = msgspec.json.decode(service_account.made())
CLAIMS = {
    "iss": KEY["client_email"],
    "scope": "https://www.googleapis.com/auth/businessmessages https://www.googleapis.com/auth/rcsbusinessmessaging",
    "aud": TOKEN_URL,
    "iat": START_MS // 1000,
    "exp": START_MS // 1000 + 3_600,
}


@pytest.fixture
def google() -> BusinessMessagesProvider:
    return BusinessMessagesProvider(BusinessMessagesOptions(behaviour=PROMPT))


@pytest.fixture
def rcs() -> RcsProvider:
    return RcsProvider(RcsOptions(behaviour=PROMPT))


def asserted(claims: dict[str, Any], key: str = KEY["private_key"]) -> str:
    return jwt.encode({"alg": "RS256", "kid": KEY["private_key_id"]}, claims, RSAKey.import_key(key))


def exchange(core: Any, assertion: str, grant: str = GRANT) -> tuple[int, dict[str, Any]]:
    body = urlencode({"grant_type": grant, "assertion": assertion}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    reply = core.call("POST", f"{core.default_address}/token", headers, body, START_MS)
    return reply.status, msgspec.json.decode(reply.body)


def ask(core: Any, method: str, path: str, document: object = None, *, at_ms: int = START_MS) -> tuple[int, Any]:
    """With a token that was just issued."""
    now_s = at_ms // 1000
    claims = {**CLAIMS, "aud": f"{core.default_address}/token", "iat": now_s, "exp": now_s + 3_600}
    body = urlencode({"grant_type": GRANT, "assertion": asserted(claims)}).encode()
    form = {"content-type": "application/x-www-form-urlencoded"}
    issued = msgspec.json.decode(core.call("POST", f"{core.default_address}/token", form, body, at_ms).body)
    headers = {"content-type": "application/json", "authorization": f"Bearer {issued['access_token']}"}
    reply = core.call(method, f"{core.default_address}{path}", headers, msgspec.json.encode(document), at_ms)
    return reply.status, msgspec.json.decode(reply.body)


def message(our_id: str) -> dict[str, Any]:
    return {"messageId": our_id, "representative": {"representativeType": "HUMAN"}, "text": "Yes."}


def posted(core: Any) -> list[Any]:
    return [webhook for _, webhook in attempts(core, WebhookAnswer(200), until_ms=HOUR_MS)]


def test_every_kind_whose_provider_posts_webhooks_has_a_simulated_provider() -> None:
    assert {kind.name for spec in SOURCES if spec.provider and spec.webhooks for kind in spec.kinds} == set(PROVIDERS)


# --- tokens


def test_an_assertion_of_the_service_account_becomes_a_token_of_an_hour(google: BusinessMessagesProvider) -> None:
    status, issued = exchange(google, asserted(CLAIMS))

    assert (status, issued["expires_in"], issued["token_type"]) == (200, 3_599, "Bearer")
    headers = {"authorization": f"Bearer {issued['access_token']}"}
    url = f"{google.default_address}/v1/conversations/unknown/messages"
    statuses = [google.call("POST", url, headers, b"{}", START_MS + at_ms).status for at_ms in (0, 3_599_000)]
    assert statuses == [400, 401]


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"iss": "another@project.iam.gserviceaccount.com"}, "invalid_grant", "account not found"),
        ({"aud": "https://oauth2.googleapis.com/other"}, "invalid_grant", "audience"),
        ({"iat": START_MS // 1000 - 7_200, "exp": START_MS // 1000 - 3_600}, "invalid_grant", "short-lived"),
        ({"exp": START_MS // 1000 + 7_200}, "invalid_grant", "short-lived"),
        ({"scope": "https://www.googleapis.com/auth/drive"}, "invalid_scope", "scope"),
    ],
)
def test_an_assertion_with_a_wrong_claim_is_refused(
    google: BusinessMessagesProvider, changed: dict[str, Any], error: str, said: str
) -> None:
    status, refused = exchange(google, asserted({**CLAIMS, **changed}))

    assert (status, refused["error"]) == (400, error)
    assert said in refused["error_description"]


def test_a_signature_of_another_key_is_refused_and_so_is_what_is_no_assertion(google: BusinessMessagesProvider) -> None:
    assert exchange(google, asserted(CLAIMS, private_key()))[1]["error_description"] == "Invalid JWT Signature."
    assert exchange(google, "no assertion")[1]["error"] == "invalid_grant"
    assert exchange(google, asserted(CLAIMS), "password")[1]["error"] == "unsupported_grant_type"


def test_a_key_file_is_made_for_its_owner_alone_and_used_again(tmp_path: Path) -> None:
    path = tmp_path / "service-account.json"
    key = service_account.kept(path)

    assert (path.stat().st_mode & 0o777, service_account.kept(path).strip()) == (0o600, key)
    assert service_account.known(key).email == KEY["client_email"]
    path.write_text("{}")
    with pytest.raises(Refused, match="cannot be read"):
        service_account.known(service_account.kept(path))


@pytest.mark.parametrize("kind", ["google", "rcs"])
def test_the_printed_configuration_holds_the_key_or_names_its_file(kind: str) -> None:
    provider, name = {"google": (BusinessMessagesProvider, "saFile"), "rcs": (RcsProvider, "serviceAccount")}[kind]
    options: Any = {"google": BusinessMessagesOptions, "rcs": RcsOptions}[kind]

    assert provider(options()).setup("").sections[kind][name] == service_account.made()
    named = provider(options(service_account=service_account.made(), service_account_file="/keys/k.json"))
    assert named.setup("").sections[kind][name] == "file:/keys/k.json"


# --- webhooks


def test_business_messages_signs_the_body_and_rcs_the_event_inside_it(
    google: BusinessMessagesProvider, rcs: RcsProvider
) -> None:
    for core in (google, rcs):
        core.says(core.person(), "Grüße", START_MS)
        (webhook,) = posted(core)
        signed = webhook.body
        if core is rcs:
            signed = b64decode(msgspec.json.decode(webhook.body)["message"]["data"])
        mac = hmac.digest(core.options.webhook_key.encode(), signed, "sha512")
        assert webhook.headers["x-goog-signature"] == b64encode(mac).decode()


def test_a_webhook_is_repeated_with_growing_waits_for_a_week(rcs: RcsProvider) -> None:
    rcs.says(rcs.person(), "hello", START_MS)
    at_ms = [at for at, _ in attempts(rcs, WebhookAnswer(503), until_ms=30 * DAY_MS)]

    waits_s = [(later - earlier) // 1000 for earlier, later in pairwise(at_ms)]
    assert waits_s[:3] == [1, 2, 4]
    assert (max(waits_s), rcs.journal.given_up) == (600, 1)
    assert 7 * DAY_MS < at_ms[-1] < 7 * DAY_MS + HOUR_MS


def test_an_event_that_is_posted_again_has_another_request_id(google: BusinessMessagesProvider) -> None:
    google.says(google.person(), "hello", START_MS)
    (webhook,) = posted(google)
    first, again = (msgspec.json.decode(google.webhook(webhook.events, START_MS + at_ms).body) for at_ms in (0, 1_000))

    assert first.pop("requestId") != again.pop("requestId")
    assert first == again


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_address_is_used_once_it_answered_with_the_secret() -> None:
    async def installation(request: web.Request) -> web.Response:
        asked = await request.json()
        known = request.path == "/rcs" and asked["clientToken"] == RcsOptions().webhook_key
        return web.Response(text=asked["secret"] if known else "who is it?")

    app = web.Application()
    app.router.add_post("/{path}", installation)
    async with TestServer(app) as target, SimServer(RcsProvider, RcsOptions()).serving() as url:
        statuses = []
        async with aiohttp.ClientSession() as session:
            for address in (target.make_url("/other"), target.make_url("/rcs")):
                async with session.post(f"{url}/sim/webhook", json={"url": str(address)}) as answer:
                    statuses.append(answer.status)
            async with session.get(f"{url}/sim/state") as answer:
                (account,) = (await answer.json())["accounts"]

        assert (statuses, account["webhook"]) == ([400, 204], str(target.make_url("/rcs")))
        options = RcsOptions(target_url=str(target.make_url("/")))
        (told,) = await SimServer(RcsProvider, options).handshakes()
        assert told.endswith("/rcs is subscribed")


# --- what people and agents do


def test_a_conversation_of_business_messages_is_closed_to_strangers_and_after_a_month(
    google: BusinessMessagesProvider,
) -> None:
    person = google.person()
    path = f"/v1/conversations/{person}/messages"
    before = ask(google, "POST", path, message("m-0"))
    google.says(person, "hello", START_MS)
    taken = ask(google, "POST", path, message("m-1"))
    repeated = ask(google, "POST", path, message("m-1"))
    late = ask(google, "POST", path, message("m-2"), at_ms=START_MS + 31 * DAY_MS)

    assert [status for status, _ in (before, taken, repeated, late)] == [403, 200, 409, 403]
    assert taken[1]["name"] == f"conversations/{person}/messages/m-1"
    assert repeated[1]["error"]["status"] == "ALREADY_EXISTS"


def test_rcs_begins_conversations_and_ignores_a_message_that_comes_again(rcs: RcsProvider) -> None:
    path = "/v1/phones/+4915112345678/agentMessages?agentId=corner_bakery_agent&messageId=m-1"
    content = {"contentMessage": {"text": "Yes."}}
    answers = [ask(rcs, "POST", path, content) for _ in range(2)]

    assert [status for status, _ in answers] == [200, 200]
    assert [line.text for line in rcs.state.people["+4915112345678"].lines] == ["Yes."]
    assert ask(rcs, "POST", path.replace("corner", "other"), content)[0] == 403
    assert ask(rcs, "POST", path.replace("+49", "49"), content)[0] == 400


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"text": "x" * 3_073},
        {"text": "x", "contentInfo": {"fileUrl": "https://x.example/1.png"}},
        {"text": "x", "suggestions": [{"reply": {"text": "x" * 26, "postbackData": "X"}}]},
        {"text": "x", "suggestions": [{"reply": {"text": "x", "postbackData": "X"}}] * 12},
        {"richCard": {"carouselCard": {"cardContents": [{"title": "alone"}]}}},
    ],
)
def test_rcs_refuses_what_its_limits_forbid(rcs: RcsProvider, content: dict[str, Any]) -> None:
    path = "/v1/phones/+4915112345678/agentMessages?agentId=corner_bakery_agent&messageId=m-1"
    status, refused = ask(rcs, "POST", path, {"contentMessage": content})

    assert (status, refused["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_typing_and_taps_are_events_and_what_an_app_cannot_do_is_refused(
    google: BusinessMessagesProvider, rcs: RcsProvider
) -> None:
    events = {}
    for core in (google, rcs):
        person = core.person()
        for act in (Types(), Says("Hours", "HOURS"), Blocks()):
            core.acts(person, act, START_MS)
        with pytest.raises(Refused, match="reports no such act"):
            core.acts(person, SendsMedia("image", caption="this one"), START_MS)
        with pytest.raises(Refused):
            core.acts(person, Reacts("👍", "m-1"), START_MS)
        events[core.title] = [event.kind for webhook in posted(core) for event in webhook.events]

    assert events == {
        "Business Messages": ["userStatus", "suggestionResponse"],
        "RCS": ["IS_TYPING", "message", "UNSUBSCRIBE"],
    }
