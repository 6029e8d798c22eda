"""A login that was begun: one random secret, which the browser keeps in a cookie until the provider sends it back.

State, nonce and PKCE verifier are hashes of the secret and of the provider's name. So nothing is stored here, any
process can complete a login, and none of the three is of use in another browser, at another provider, or for another
purpose.
"""

from hashlib import sha256
from hmac import compare_digest

from msgspec import Struct

from airy import base64url
from airy.model import ids

SECRET_BYTES = 32
PATH_CHARS_MAX = 1_024


class LoginAttempt(Struct, frozen=True):
    secret: bytes
    provider: str
    return_to: str  # a path; empty: the configured one

    @property
    def state(self) -> str:
        return self._derived("state")

    @property
    def nonce(self) -> str:
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        return self._derived("verifier")

    @property
    def login_id(self) -> str:
        """Names the session that the login begins, so that there is one."""
        return ids.derive("login", self._derived("login"))

    def has_state(self, given: str) -> bool:
        return compare_digest(self.state.encode(), given.encode("utf-8", "replace"))

    def cookie_value(self) -> str:
        return f"{base64url.encode(self.secret)}.{base64url.encode(self.return_to.encode())}"

    def _derived(self, purpose: str) -> str:
        return base64url.encode(sha256(f"{purpose}|{self.provider}|".encode() + self.secret).digest())


def read_attempt(cookie_value: bytes, provider: str) -> LoginAttempt | None:
    secret, _, return_to = cookie_value.partition(b".")
    try:
        attempt = LoginAttempt(base64url.decode(secret), provider, base64url.decode(return_to).decode())
    except ValueError:
        return None
    valid = len(attempt.secret) == SECRET_BYTES and attempt.return_to == path_of_this_origin(attempt.return_to)
    return attempt if valid else None


def path_of_this_origin(given: str) -> str:
    """A path to return to after the login; empty for anything that a browser could take for another origin."""
    plain = given.isascii() and given.isprintable() and len(given) <= PATH_CHARS_MAX and "\\" not in given
    return given if plain and given.startswith("/") and not given.startswith("//") and " " not in given else ""
