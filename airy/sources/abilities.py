"""What only some sources have, as their specifications and kinds declare it; `api.py` has the rest of the contract."""

from collections.abc import Collection, Sequence
from typing import Protocol

from msgspec import Struct

from airy.http_client import HttpClient
from airy.sources.api import Account, AccountKey, Call, Checked, Profile, Target


class Explorer(Protocol):
    """A source with a kind that declares `explore`."""

    async def explore(
        self, client: HttpClient, kind: str, form: Struct, connected: Collection[AccountKey]
    ) -> list[Account]:
        """The accounts the caller's credentials give access to. Raises `Refused`, `Unavailable`."""
        ...


class TokenExchange(Protocol):
    """A source whose specification declares `token_exchange`."""

    async def authorize(self, client: HttpClient, target: Target, now_ms: int) -> Target:
        """`target` with the token that the provider issues for a short time, as `encode` needs it. The source keeps a
        token until shortly before it expires. Raises `Refused`, `Unavailable`.
        """
        ...


class ProfileReader(Protocol):
    """A source with a kind whose profile origin is `provider`."""

    async def profile(self, client: HttpClient, target: Target) -> Profile:
        """Of the conversation's participant. Raises `Unavailable` with a delay when it is worth asking again."""
        ...


class Checker(Protocol):
    """A source with a kind that declares `check_every_s`."""

    async def check(self, client: HttpClient, target: Target, now_ms: int) -> Checked:
        """Whether the account still sends its webhooks here and takes our calls; puts right what it can, and renews
        credentials before they expire. May be repeated at any time. Raises `Unavailable` if the provider cannot say.
        """
        ...


class Signals(Protocol):
    """A source with a kind that declares `mark_read` or `typing`. Pure; no calls where the kind has no such signal."""

    def mark_read(self, target: Target, provider_id: str) -> Sequence[Call]:
        """Shows the contact that everything up to the message was read."""
        ...

    def typing(self, target: Target, provider_id: str | None) -> Sequence[Call]:
        """Shows that an answer is being written; `provider_id` is the contact's last message."""
        ...


class MediaReader(Protocol):
    """A source with a kind whose media origin is `provider`."""

    async def media(self, client: HttpClient, target: Target, reference: str) -> Call:
        """The call whose answer is the file behind a media id or address of canonical content.

        Raises `Refused`, `Unavailable`.
        """
        ...
