"""What every Graph API call shares: credentials, and errors."""

import hmac
import re
from hashlib import sha256

from msgspec import Struct

from airy.secret import Secret
from airy.sources import payload, provider_answer
from airy.sources.api import Call
from airy.sources.meta.app import MetaApp

MESSAGE_CHARACTERS_MAX = 500
RATE_CODES = frozenset({4, 17, 32, 613, *range(80001, 80015), 130429, 133016})
APP_RATE_CODES = frozenset({4})  # of the app, whatever the page
BUSY_CODES = frozenset({1, 2, 1200, 131000, 131016, 131057, 133004, 2494100})
RATE_S = 60.0  # the delay after a rate limit when Meta names none
TOKEN_CODES = frozenset({102, 190, 463, 467})
MARKS = frozenset({"error_subcode", "fbtrace_id", "is_transient"})  # of an error that is Graph's own
SENTENCES = ("message", "error_user_msg", "error_user_title")

_TOKEN = re.compile(r"(?<![A-Za-z0-9])(?:EA|IGA|IGQ)[A-Za-z0-9]{14,}|(?<=access token )[^\s\"\\]+", re.IGNORECASE)
_QUOTED_CODE = re.compile(r"\(#(\d{1,9})\)")  # "(#10) This message …"


class GraphError(Struct, frozen=True):
    """The `error` object of an answer. `message` holds no secret."""

    message: str
    code: int | None
    subcode: int | None
    is_transient: bool  # Meta's own flag

    @property
    def transient(self) -> bool:
        return self.is_transient or self.code in RATE_CODES or self.code in BUSY_CODES

    @property
    def name(self) -> str:
        return "/".join(str(each) for each in (self.code, self.subcode) if each is not None)


def headers(token: Secret) -> dict[str, Secret]:
    return {"authorization": Secret(f"Bearer {token.reveal()}"), "content-type": Secret("application/json")}


def proof(app: MetaApp, token: Secret) -> str:
    """Proves that the caller of `token` also knows the app secret. Worthless without the token."""
    return hmac.new(app.app_secrets[0].encode(), token.reveal().encode(), sha256).hexdigest()


def proved(app: MetaApp, token: Secret) -> dict[str, str]:
    """The field of a body that proves it; nothing where the app does without."""
    return {"appsecret_proof": proof(app, token)} if app.proves else {}


def call(method: str, url: str, token: Secret, body: bytes | None = None) -> Call:
    return Call(method, Secret(url), headers(token), body, (token,))


def error_of(found: dict[str, object] | None) -> GraphError | None:
    """None if `found` is no error of Graph's: one has a code, also in its sentence, or a field that is Meta's alone."""
    error = payload.record((found or {}).get("error"))
    said = next((text for name in SENTENCES if (text := payload.text(error.get(name)))), None)
    code = provider_answer.number(error.get("code"))
    if code is None and (quoted := _QUOTED_CODE.match(said or "")):
        code = int(quoted[1])
    if code is None and not MARKS & error.keys() and not str(error.get("type")).endswith("Exception"):
        return None
    return GraphError(
        message=masked(said or f"error {'without a code' if code is None else code}")[:MESSAGE_CHARACTERS_MAX],
        code=code,
        subcode=provider_answer.number(error.get("error_subcode")),
        is_transient=provider_answer.is_true(error.get("is_transient")),
    )


def masked(said: str, *secrets: str) -> str:
    """`said` without `secrets` and what looks like a token: Meta quotes the token it refuses."""
    for secret in secrets:
        said = said.replace(secret, "***") if secret else said
    return _TOKEN.sub("***", said)
