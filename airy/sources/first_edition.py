"""The contract of a source. One folder per provider, all with the same anatomy:

verify.py     raw bytes and headers → accepted or not; the subscription handshake
route.py      one raw event → facts (pure)
encode.py     a message of ours → one provider call (pure)
interpret.py  the provider's answer → outcome (pure)
manage.py     connect, explore, disconnect, profile: conversations with the provider's management API
__init__.py   the `Source` value that ties them together
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from airy.bus.record import Record
from airy.http_client import HttpClient, Response
from airy.model.conversation import Conversation, Message
from airy.model.entity import Channel
from airy.model.fact import Fact
from airy.sources.api import Accepted, Account, Denied, Failed, Lost, Outcome, Profile, Sent

__all__ = ["Accepted", "Account", "Denied", "Failed", "Lost", "Outcome", "Profile", "Sent"]


class PlainCall(Struct, frozen=True):
    """One HTTP request to the provider. Secrets travel in headers, never in the URL."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None = None


class FirstRouted(Struct, frozen=True):
    """What one raw event means. `unknown_accounts` are parked; `rest` names unreadable parts, with the reason."""

    facts: list[Fact]
    unknown_accounts: list[str]
    rest: list[str]


class FirstSource(Protocol):
    name: str  # "facebook"
    send_rate_per_s: float  # per channel
    send_parallel_max: int  # conversations of one channel at once

    def handshake(self, query: Mapping[str, str]) -> str | Denied:
        """The provider's GET verification: the text to answer."""
        ...

    def verify(self, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Accepted | Denied: ...

    def route(self, record: Record, channels: Mapping[str, Channel]) -> FirstRouted:
        """`channels`: connected ones by provider account. Deterministic: no clock, no chance. Raises `Undecodable`."""
        ...

    def encode(
        self, message: Message, conversation: Conversation | None, token: str, now_ms: int
    ) -> PlainCall | Failed: ...
    def interpret(self, answer: Response, now_ms: int) -> Outcome: ...
    async def profile(self, fetch: HttpClient, participant_id: str, token: str) -> Profile:
        """Raises `Unavailable` when it is worth asking again."""
        ...


Source = FirstSource
Routed = FirstRouted
Call = PlainCall
