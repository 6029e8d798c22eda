"""What a login needs from an identity provider."""

from typing import Protocol

from msgspec import Struct

from airy.http.login.attempt import LoginAttempt
from airy.secret import Secret


class Identity(Struct, frozen=True, kw_only=True):
    """A person as the provider knows it. `email` is verified by the provider."""

    id: str  # `<provider>:<id at the provider>`
    email: str
    name: str | None = None
    picture: str | None = None


class RegisteredClient(Struct, frozen=True, kw_only=True):
    """An installation, as it is registered at the provider."""

    id: str
    secret: Secret
    redirect_url: str


class IdentityProvider(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def issuer(self) -> str | None:
        """What the parameter `iss` of an answer must be, if it is present. None: the provider has none."""
        ...

    async def authorization_url(self, attempt: LoginAttempt) -> str:
        """Raises `Unavailable`, `Refused`."""
        ...

    async def identify(self, attempt: LoginAttempt, code: str) -> Identity:
        """Exchange the code. Raises `Forbidden` if the person has no verified address, `Unavailable`, `Refused`."""
        ...
