"""What every Graph API call shares: credentials, and errors."""

import hmac
import re
from hashlib import sha256

from msgspec import Struct

from airy.secret import Secret
from airy.sources import payload
from airy.sources.api import Call
from airy.sources.meta.app import MetaApp

MESSAGE_CHARACTERS_MAX = 500
RATE_CODES = frozenset({4, 17, 32, 613, *range(80001, 80015)})
BUSY_CODES = frozenset({1, 2, 1200})
RATE_S = 60.0  # the delay after a rate limit when Meta names none
TOKEN_CODES = frozenset({102, 190, 463, 467})

_TOKEN = re.compile(r"(?<![A-Za-z0-9])EA[A-Za-z0-9]{14,}|(?<=access token )[^\s\"\\]+", re.IGNORECASE)


class GraphError(Struct, frozen=True):
    """The `error` object of an answer. `message` holds no secret."""

    message: str
    code: int
    subcode: int | None
    transient: bool

    @property
    def name(self) -> str:
        return str(self.code) if self.subcode is None else f"{self.code}/{self.subcode}"


def headers(token: Secret) -> dict[str, Secret]:
    return {"authorization": Secret(f"Bearer {token.reveal()}"), "content-type": Secret("application/json")}


def proof(app: MetaApp, token: Secret) -> str:
    """Proves that the caller of `token` also knows the app secret. Worthless without the token."""
    return hmac.new(app.app_secrets[0].encode(), token.reveal().encode(), sha256).hexdigest()


def call(method: str, url: str, token: Secret, body: bytes | None = None) -> Call:
    return Call(method, Secret(url), headers(token), body, (token,))


def error_of(found: dict[str, object] | None) -> GraphError | None:
    """None if `found` is no error."""
    error = payload.record((found or {}).get("error"))
    code = error.get("code")
    if not isinstance(code, int) or isinstance(code, bool):
        return None
    subcode = error.get("error_subcode")
    said = payload.text(error.get("message")) or payload.text(error.get("error_user_msg")) or f"error {code}"
    return GraphError(
        message=masked(said)[:MESSAGE_CHARACTERS_MAX],
        code=code,
        subcode=subcode if isinstance(subcode, int) and not isinstance(subcode, bool) else None,
        transient=error.get("is_transient") is True or code in RATE_CODES or code in BUSY_CODES,
    )


def masked(said: str, *secrets: str) -> str:
    """`said` without `secrets` and what looks like a token: Meta quotes the token it refuses."""
    for secret in secrets:
        said = said.replace(secret, "***") if secret else said
    return _TOKEN.sub("***", said)
