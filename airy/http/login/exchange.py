"""The calls of the code flow that all providers share: the authorization request, and the exchange of the code."""

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote_plus, urlencode

import msgspec
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from msgspec import Struct

from airy.commands import Forbidden
from airy.errors import Unavailable
from airy.http.login.attempt import LoginAttempt
from airy.http.login.provider import RegisteredClient
from airy.http_client import HttpClient, Response

TOTAL_S = 10.0
ANSWER_BYTES_MAX = 262_144

T = TypeVar("T")


class TokenResponse(Struct, frozen=True):
    access_token: str = ""
    id_token: str = ""
    error: str = ""


def authorization_url(endpoint: str, client: RegisteredClient, attempt: LoginAttempt, scope: str, **more: str) -> str:
    url: str = prepare_grant_uri(
        endpoint,
        client.id,
        "code",
        redirect_uri=client.redirect_url,
        scope=scope,
        state=attempt.state,
        code_challenge=create_s256_code_challenge(attempt.verifier),
        code_challenge_method="S256",
        **more,
    )
    return url


async def fetch_tokens(
    http: HttpClient, endpoint: str, client: RegisteredClient, attempt: LoginAttempt, code: str, *, basic: bool
) -> TokenResponse:
    """Exchange the code. `basic`: the client authenticates in a header instead of the body. Raises `Forbidden`."""
    body = prepare_token_request(
        "authorization_code", redirect_uri=client.redirect_url, code=code, code_verifier=attempt.verifier
    )
    headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
    if basic:
        headers["authorization"] = f"Basic {_basic(client)}"
    else:
        body += "&" + urlencode({"client_id": client.id, "client_secret": client.secret.reveal()})
    response = await call(http, "POST", endpoint, headers, body.encode())
    if response.status in (400, 401, 403):
        raise Forbidden(f"the identity provider rejected the login{_reason(response)}")
    tokens = decode(response, TokenResponse)
    if tokens.error or not tokens.access_token:
        raise Forbidden(f"the identity provider rejected the login{_reason(response)}")
    return tokens


async def fetch(http: HttpClient, url: str, shape: type[T], access_token: str = "") -> T:
    headers = {"accept": "application/json"}
    if access_token:
        headers["authorization"] = f"Bearer {access_token}"
    return decode(await call(http, "GET", url, headers), shape)


async def call(
    http: HttpClient, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
) -> Response:
    """Raises `Unavailable`."""
    response = await http(method, url, headers=headers, body=body, total_s=TOTAL_S, body_bytes_max=ANSWER_BYTES_MAX)
    if response.status >= 500 or response.status in (408, 429):
        raise Unavailable(f"the identity provider answered {response.status}")
    return response


def decode(response: Response, shape: type[T]) -> T:
    """Raises `Unavailable`: a login cannot go on with another answer, and the reason is at the provider."""
    if response.status != 200:
        raise Unavailable(f"the identity provider answered {response.status}")
    try:
        return msgspec.json.decode(response.body, type=shape, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unavailable("the identity provider sent an answer that cannot be read") from error


def _basic(client: RegisteredClient) -> str:
    """RFC 6749, 2.3.1: both parts are form-encoded first."""
    return b64encode(f"{quote_plus(client.id)}:{quote_plus(client.secret.reveal())}".encode()).decode()


def _reason(response: Response) -> str:
    """The error code of RFC 6749, and nothing else of the answer: it may repeat what it was sent."""
    found = re.search(rb'"error"\s*:\s*"([a-z_]{1,40})"', response.body)
    return f": {found[1].decode()}" if found else ""
