"""Logins end to end: a browser, Airy and an identity provider, over real HTTP."""

import hmac
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from random import Random
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
import pytest
from structlog.testing import capture_logs

from airy import topics
from airy.actors.runtime import Context
from airy.clock import SystemClock
from airy.egress import UNRESTRICTED
from airy.http.login import openid
from airy.http.login.attempt import LoginAttempt
from airy.http.login.github import GithubProvider
from airy.http.login.openid import OpenIdProvider
from airy.http.login.provider import Identity, RegisteredClient
from airy.http.server import HttpServer
from airy.http_client_aiohttp import AiohttpClient
from airy.secret import Secret
from tests.kit.api import LOGINS, ApiHarness, api_harness
from tests.kit.asgi import call
from tests.kit.identity_provider import CLIENT_ID, CLIENT_SECRET, Account, SimulatedIdentityProvider, serving
from tests.kit.jwt import encoded
from tests.kit.servers.ports import Port

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.fixture(autouse=True)
def _log_not_on_stdout() -> Iterator[None]:
    with capture_logs():
        yield


class Installation:
    """Airy and the provider, running; a browser that follows no redirect by itself."""

    def __init__(self, url: str, api: ApiHarness, provider: SimulatedIdentityProvider, name: str) -> None:
        self.url = url
        self.api = api
        self.provider = provider
        self.name = name

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as browser:
            yield browser

    async def begin(self, browser: httpx.AsyncClient, query: str = "") -> str:
        """Open /login, and agree at the provider. The address that the provider redirects to."""
        at_airy = await browser.get(f"/login{query}")
        assert at_airy.status_code == 302
        at_provider = await browser.get(at_airy.headers["location"])
        answer = await browser.get(at_provider.headers["location"])
        return str(answer.headers["location"])

    async def log_in(self, browser: httpx.AsyncClient, query: str = "") -> httpx.Response:
        return await browser.get(await self.begin(browser, query))


@asynccontextmanager
async def installation(name: str = "acme") -> AsyncIterator[Installation]:
    with Port() as port:
        url = f"http://{port}"
        simulated = SimulatedIdentityProvider(redirect_url=f"{url}/login/oauth2/code/{name}")
        client = RegisteredClient(id=CLIENT_ID, secret=Secret(CLIENT_SECRET), redirect_url=simulated.redirect_url)
        async with serving(simulated) as issuer, AiohttpClient(UNRESTRICTED) as http:
            provider = (
                GithubProvider(http, url=issuer, api_url=issuer, client=client)
                if name == "github"
                else OpenIdProvider(http, SystemClock(), name=name, issuer=issuer, client=client)
            )
            async with api_harness(provider=provider) as api, anyio.create_task_group() as tasks:
                ready = anyio.Event()
                ctx = Context("http", clock=SystemClock(), random=Random(0), on_ready=ready.set)
                tasks.start_soon(HttpServer(api.app, port=port.number).run, ctx)
                with anyio.fail_after(60):
                    await ready.wait()
                yield Installation(url, api, simulated, name)
                ctx.draining.set()


async def profile(browser: httpx.AsyncClient) -> object:
    """Of `client.config`, as the inbox asks for it; the status if it is refused."""
    answer = await browser.post("/client.config", headers={"x-requested-with": "XMLHttpRequest"})
    return answer.json()["user_profile"] if answer.status_code == 200 else answer.status_code


ADA = {"id": "acme:ada@example.org", "name": "Ada Lovelace", "avatar_url": None}


async def test_a_person_logs_in_works_and_logs_out() -> None:
    async with installation() as here, here.browser() as browser:
        assert await profile(browser) == 403
        done = await here.log_in(browser, "?return_to=/inbox/conversations/1%3Fx=y")
        assert (done.status_code, done.headers["location"]) == (302, "/inbox/conversations/1?x=y")
        assert await profile(browser) == ADA
        users = (await here.api.call("/users.list"))["data"]
        assert [(user["id"], user["name"]) for user in users] == [("acme:ada@example.org", "Ada Lovelace")]

        token = browser.cookies["airy_auth_token"]
        out = await browser.post("/logout", headers={"origin": here.url})
        assert (out.status_code, out.headers["location"]) == (303, "/")
        assert "airy_auth_token" not in browser.cookies
        browser.cookies.set("airy_auth_token", token)
        assert await profile(browser) == 403


async def test_lib_7_a6_a7_a8_login_redirects_to_the_provider_and_tokens_work_beside_it() -> None:
    async with installation("github") as here, here.browser() as browser:
        refused = await browser.post("/conversations.list", headers={"x-requested-with": "XMLHttpRequest"})
        assert refused.status_code == 403  # no redirect
        assert (await here.api.post("/conversations.list")).status == 200
        answer = await browser.get("/login")
        assert "oauth2/authorization/github" in answer.headers["location"]
        assert (await browser.get("/oauth2/authorization/google")).status_code == 404


async def test_without_a_provider_there_is_no_login() -> None:
    async with api_harness() as api:
        for path in ("/login", "/oauth2/authorization/acme", "/login/oauth2/code/acme"):
            answer = await _get(api, path)
            assert answer == 404, path


async def _get(api: ApiHarness, path: str) -> int:
    return (await call(api.app, "GET", path)).status


class OnePerson:
    """A provider that logs in Ada, whatever the code."""

    name = "acme"
    issuer = None

    async def authorization_url(self, attempt: LoginAttempt) -> str:
        return f"https://login.example.org/?state={attempt.state}"

    async def identify(self, attempt: LoginAttempt, code: str) -> Identity:
        return Identity(id="acme:ada@example.org", email="ada@example.org")


async def test_over_https_cookies_have_the_host_prefix_and_no_script_can_read_them() -> None:
    async with api_harness(provider=OnePerson(), secure=True) as api:
        begun = await call(api.app, "GET", "/oauth2/authorization/acme")
        cookie, _, flags = begun.headers["set-cookie"].partition("; ")
        assert cookie.startswith("__Host-airy_login=")
        assert flags == "Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"
        query = f"code=x&{urlsplit(begun.headers['location']).query}"
        headers = [("cookie", cookie)]
        done = await call(api.app, "GET", "/login/oauth2/code/acme", query=query, headers=headers)
        cookies = [value for name, value in done.raw_headers if name == "set-cookie"]
        assert re.fullmatch(
            "__Host-airy_auth_token=[^;]{60,}; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure", cookies[0]
        )
        assert cookies[1].startswith("__Host-airy_login=; Path=/; Max-Age=0; ")
        assert done.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("emails", "accepted"),
    [
        ([{"email": "Ada@example.org", "primary": True, "verified": True}], True),
        ([{"email": "ada@example.org", "primary": True, "verified": False}], False),
        (
            [
                {"email": "ada@example.org", "primary": False, "verified": True},
                {"email": "evil@evil.example", "primary": True, "verified": True},
            ],
            False,
        ),
        ([], False),
    ],
)
async def test_github_counts_the_verified_primary_address_only(emails: list[dict[str, object]], accepted: bool) -> None:
    async with installation("github") as here, here.browser() as browser:
        here.provider.account = Account(subject="8675309", emails=emails)
        done = await here.log_in(browser)
        assert done.status_code == (302 if accepted else 403)
        found = await profile(browser)
        assert found == ({"id": "github:8675309", "name": "ada", "avatar_url": None} if accepted else 403)


# --- who may log in


@pytest.mark.parametrize(
    "account",
    [
        Account(email="eve@example.org"),
        Account(email="ada@example.org.evil.example"),
        Account(email="ada@ex\N{LATIN SMALL LETTER DOTLESS I}mple.org"),
        Account(email_verified=False),
        Account(email_verified=None),
        Account(email_verified=1),
        Account(email_verified="yes"),
        Account(email=None),
    ],
    ids=str,
)
async def test_an_address_that_is_not_allowed_or_not_verified_gets_no_session(account: Account) -> None:
    async with installation() as here, here.browser() as browser:
        here.provider.account = account
        done = await here.log_in(browser)
        assert done.status_code == 403
        assert not dict(browser.cookies)
        assert await profile(browser) == 403
        assert await here.api.records(topics.USERS) == []


async def test_an_address_that_only_the_user_info_has_counts_for_the_same_account() -> None:
    async with installation() as here, here.browser() as browser:
        here.provider.email_in_id_token = False
        here.provider.auth_methods = ["client_secret_post"]
        assert (await here.log_in(browser)).status_code == 302
        assert await profile(browser) == ADA
        here.provider.change_claims = lambda claims: claims | {"sub": "another"}
        assert (await here.log_in(browser)).status_code == 403


# --- ID tokens


async def test_keys_of_the_provider_may_rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openid, "KEYS_AGAIN_S", 0.0)
    async with installation() as here, here.browser() as browser:
        for _ in range(2):
            assert (await here.log_in(browser)).status_code == 302
        assert here.provider.requests.count("/jwks") == 1
        here.provider.rotate_keys()
        assert (await here.log_in(browser)).status_code == 302
        assert here.provider.requests.count("/jwks") == 2


async def test_bad_tokens_do_not_have_the_keys_fetched_each_time() -> None:
    async with installation() as here, here.browser() as browser:
        signed_with_another_key(here.provider)
        for _ in range(3):
            assert (await here.log_in(browser)).status_code == 403
        assert here.provider.requests.count("/jwks") == 1


def unsigned(provider: SimulatedIdentityProvider) -> None:
    provider.change_header = lambda header: {"alg": "none"}
    provider.sign = lambda text: b""


def signed_with_the_public_key(provider: SimulatedIdentityProvider) -> None:
    """HMAC whose secret is the published key."""
    provider.change_header = lambda header: header | {"alg": "HS256"}
    provider.sign = lambda text: hmac.digest(encoded(provider.jwks()["keys"][0]).encode(), text, sha256)


def signed_with_another_key(provider: SimulatedIdentityProvider) -> None:
    other = SimulatedIdentityProvider(redirect_url="")
    provider.sign = other.sign


def key_in_the_header(provider: SimulatedIdentityProvider) -> None:
    other = SimulatedIdentityProvider(redirect_url="")
    provider.sign = other.sign
    provider.change_header = lambda header: header | {"jwk": other.jwks()["keys"][0]}


def tampered(provider: SimulatedIdentityProvider) -> None:
    original = provider.sign
    provider.sign = lambda text: original(text + b"x")


def with_claims(**changes: object) -> object:
    def change(provider: SimulatedIdentityProvider) -> None:
        provider.change_claims = lambda claims: {
            name: value for name, value in (claims | changes).items() if value is not None
        }

    return change


ATTACKS = {
    "unsigned": unsigned,
    "public key as secret": signed_with_the_public_key,
    "another key": signed_with_another_key,
    "key in the header": key_in_the_header,
    "tampered": tampered,
    "another audience": with_claims(aud="another-client"),
    "several audiences without azp": with_claims(aud=[CLIENT_ID, "another"]),
    "another party": with_claims(azp="another"),
    "another issuer": with_claims(iss="https://evil.example"),
    "expired": with_claims(exp=1_000_000),
    "no expiry": with_claims(exp=None),
    "from the future": with_claims(iat=9_999_999_999),
    "another nonce": with_claims(nonce="n" * 43),
    "no nonce": with_claims(nonce=None),
    "no subject": with_claims(sub=None),
    "another access token": with_claims(at_hash="A" * 22),
    "claims of wrong types": with_claims(aud=7),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_forged_id_token_gets_no_session(attack: str) -> None:
    async with installation() as here, here.browser() as browser:
        ATTACKS[attack](here.provider)  # type: ignore[operator]
        done = await here.log_in(browser)
        assert done.status_code == 403
        assert await profile(browser) == 403


# --- state, replay, other browsers


async def test_an_answer_of_the_provider_is_used_once_and_in_its_own_browser() -> None:
    async with installation() as here, here.browser() as browser, here.browser() as other:
        address = await here.begin(browser)
        await here.begin(other)
        assert (await other.get(address)).status_code == 403  # another login's state
        kept = browser.cookies["airy_login"]
        assert (await browser.get(address)).status_code == 302
        assert (await browser.get(address)).status_code == 403  # its cookie is gone
        browser.cookies.set("airy_login", kept)
        assert (await browser.get(address)).status_code == 403  # the provider knows the code no more


async def test_a_replayed_login_begins_no_second_session_even_if_the_provider_accepts_its_code_twice() -> None:
    async with installation() as here, here.browser() as browser:
        address = await here.begin(browser)
        kept = browser.cookies["airy_login"]
        grants = dict(here.provider._grants)
        assert (await browser.get(address)).status_code == 302
        here.provider._grants.update(grants)
        browser.cookies.set("airy_login", kept)
        assert (await browser.get(address)).status_code == 409
        [user] = (await here.api.store.users(cursor=None, page_size=None)).items
        assert len(user.sessions) == 1


async def test_state_nonce_and_verifier_differ_and_none_is_the_cookie() -> None:
    async with installation() as here, here.browser() as browser:
        await here.begin(browser)
        answer = await browser.get("/oauth2/authorization/acme")
        sent = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
        secret = browser.cookies["airy_login"].partition(".")[0]
        values = [sent["state"], sent["nonce"], sent["code_challenge"], secret]
        assert len(set(values)) == 4
        assert sent["scope"] == "openid email profile"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("code=x", "was not begun"),
        ("code=x&state=y", "was not begun"),
        ("code=x&state=STATE&iss=https://evil.example", "another identity provider"),
        ("error=access_denied&state=STATE", "access_denied"),
        ("error=%3Cscript%3E&state=STATE", "no code"),
        ("state=STATE&state=STATE&code=x", "given twice"),
        ("code=never-issued&state=STATE", "invalid_grant"),
        ("&".join(f"p{number}=x" for number in range(40)), "more than 32 parameters"),
    ],
)
async def test_an_answer_that_does_not_belong_to_the_login_is_refused(query: str, reason: str) -> None:
    async with installation() as here, here.browser() as browser:
        address = await here.begin(browser)
        state = parse_qs(urlsplit(address).query)["state"][0]
        done = await browser.get(f"/login/oauth2/code/acme?{query.replace('STATE', state)}")
        assert done.status_code in (400, 403)
        assert reason in done.json()["message"]
        assert "<script>" not in done.text
        assert not dict(browser.cookies)


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\r\nset-cookie: a=b",
        "inbox",
        "/x y",
        "/" + "x" * 2_000,
    ],
)
async def test_a_login_returns_to_paths_of_its_own_origin_only(path: str) -> None:
    async with installation() as here, here.browser() as browser:
        query = str(httpx.QueryParams({"return_to": path}))
        done = await here.log_in(browser, f"?{query}")
        assert (done.status_code, done.headers["location"]) == (302, "/inbox")


async def test_a_logout_that_another_site_caused_is_refused() -> None:
    async with installation() as here, here.browser() as browser:
        await here.log_in(browser)
        for headers in ({}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
            assert (await browser.get("/logout", headers=headers)).status_code == 403
        assert (await browser.post("/logout")).status_code == 403
        assert (await browser.post("/logout", headers={"origin": "https://evil.example"})).status_code == 403
        assert await profile(browser) == ADA
        assert (await browser.get("/logout", headers={"sec-fetch-site": "same-origin"})).status_code == 303
        assert await profile(browser) == 403
        assert (await browser.get("/logout")).status_code == 303  # there is no session any more


async def test_an_unavailable_provider_is_a_temporary_failure() -> None:
    async with installation() as here, here.browser() as browser:
        here.provider.url = "https://another.example"  # in its discovery document
        answer = await browser.get("/oauth2/authorization/acme")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "another issuer" in answer.json()["message"]


async def test_the_roles_of_people_are_those_of_their_addresses() -> None:
    async with installation() as here, here.browser() as browser:
        proof = {"x-requested-with": "XMLHttpRequest"}
        await here.log_in(browser)
        assert (await browser.post("/tokens.list", headers=proof)).status_code == 200
        here.provider.account = Account(email="bob@example.org")
        assert LOGINS["bob@example.org"] == "agent"
        await here.log_in(browser)
        assert (await browser.post("/tags.list", headers=proof)).status_code == 200
        assert (await browser.post("/tokens.list", headers=proof)).status_code == 403


async def test_secrets_of_a_login_appear_in_no_answer_no_log_line_and_no_topic() -> None:
    with capture_logs() as logged:
        async with installation() as here, here.browser() as browser:
            answers = [await here.log_in(browser)]
            session = browser.cookies["airy_auth_token"]
            here.provider.account = Account(email="eve@example.org")
            answers.append(await here.log_in(browser))
            unsigned(here.provider)
            answers.append(await here.log_in(browser))
            kept = browser.cookies["airy_auth_token"]
            answers.append(await browser.post("/logout", headers={"origin": here.url}))
            records = [record for topic in topics.ALL for record in await here.api.records(topic)]
            verifiers = [request["code_verifier"] for request in here.provider.received]
    shown = [repr(dict(answer.headers, **{"set-cookie": ""})) + answer.text for answer in answers]
    written = "".join(
        [*shown, repr(logged), *(f"{record.key!r}{record.value!r}{record.headers}" for record in records)]
    )
    assert (len(verifiers), kept, len(records) > 4) == (3, session, True)
    for secret in (CLIENT_SECRET, "code-", "access-", session.partition(".")[0], *verifiers):
        assert secret not in written, secret
