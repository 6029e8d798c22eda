"""Authentication of a running process: a login, a token of the command line, and what survives a power cut."""

import json
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.kit.identity_provider import CLIENT_ID, CLIENT_SECRET, SimulatedIdentityProvider, serving
from tests.kit.process import TOKEN, AiryProcess, http_session

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.parametrize("anyio_backend", ["asyncio"])]

PROOF = {"x-requested-with": "XMLHttpRequest"}


def configure(process: AiryProcess, issuer: str) -> None:
    oidc = {
        "provider": "acme",
        "issuer": issuer,
        "clientId": CLIENT_ID,
        "clientSecret": CLIENT_SECRET,
        "allowedEmailPatterns": ["*@example.org"],
        "admins": ["ada@example.org"],
    }
    text = process._config.read_text()
    text = text.replace("security:\n", f"security:\n  oidc: {json.dumps(oidc)}\n", 1)
    process._config.write_text(text.replace("http: {", f"http: {{publicUrl: {process.url}, ", 1))


async def log_in(browser: httpx.AsyncClient) -> httpx.Response:
    answer = await browser.get("/login?return_to=/inbox")
    while answer.status_code == 302 and answer.headers["location"] != "/inbox":
        answer = await browser.get(answer.headers["location"])
    return answer


async def test_sessions_and_tokens_survive_a_power_cut_and_their_revocation_too(tmp_path: Path) -> None:
    with closing(AiryProcess(tmp_path, "http://127.0.0.1:1")) as airy:
        simulated = SimulatedIdentityProvider(redirect_url=f"{airy.url}/login/oauth2/code/acme")
        async with (
            serving(simulated) as issuer,
            http_session() as session,
            httpx.AsyncClient(base_url=airy.url, trust_env=False, timeout=60) as browser,
        ):
            configure(airy, issuer)
            airy.start()
            await airy.ready(session)
            assert (await log_in(browser)).headers["location"] == "/inbox"
            kept, revoked = (
                json.loads(
                    airy.run("token create", name, "--role", "agent", "--url", airy.url, "--token", TOKEN, "--json")
                )
                for name in ("kept", "revoked")
            )
            airy.run("token revoke", revoked["id"], "--yes", "--url", airy.url, "--token", TOKEN)

            airy.kill()
            airy.start()
            await airy.ready(session)
            assert (await browser.post("/tokens.list", headers=PROOF)).status_code == 200
            statuses = [
                (await browser.post("/tags.list", headers={"authorization": each["token"]})).status_code
                for each in (kept, revoked)
            ]
            assert statuses == [200, 403]
            assert (await browser.post("/logout", headers={"origin": airy.url})).status_code == 303
            assert (await browser.post("/tokens.list", headers=PROOF)).status_code == 403
            log = airy.log.read_text()
            for secret in (CLIENT_SECRET, kept["token"][27:], "code-", "access-"):
                assert secret not in log
        assert airy.stop() == 0
