"""The contract of a source. One folder per provider, all with the same anatomy:

spec.py       what the source is, as data: kinds of channel, configuration, paths, limits, capabilities
verify.py     a webhook request → accepted, denied or answered
route.py      one raw event → facts, with canonical content (pure)
encode.py     a message of ours → provider calls (pure)
interpret.py  the provider's answers → outcome (pure)
manage.py     connect, disconnect, explore, profile: conversations with the provider's management API
source.py     the `Source` that ties them together

What the sources of one provider have in common is in a package they share, such as `airy/sources/meta/`.

Errors are types: `Refused` is final and carries a sentence for the caller, `Unavailable` may be repeated, not earlier
than `retry_after_s`; `AppRateLimited` is one that concerns every call of the source. None holds a secret.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from msgspec import Raw, Struct

from airy.bus.record import Record
from airy.errors import Unavailable
from airy.http_client import HttpClient, Response
from airy.model import ids
from airy.model.conversation import Conversation, Message
from airy.model.entity import Channel, CustomSource
from airy.model.fact import ErrorKind, Fact
from airy.model.identity import IdentityKey
from airy.secret import MASK, Secret
from airy.sources.canonical import Contents
from airy.sources.spec import ChannelForm, SourceSection, SourceSpec


class AppRateLimited(Unavailable):
    """The provider refuses all calls of our app, whatever the account, for `retry_after_s`."""


# --- webhooks in


class WebhookRequest(Struct, frozen=True, kw_only=True):
    """A request as it arrived. `url` is what the provider called: the public address of this installation with path and
    query byte for byte; without a configured public address it is path and query alone.
    """

    method: str
    url: str
    path: str
    query: str = ""  # without the question mark, not decoded
    parameters: Mapping[str, str] = {}  # of the path
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""

    def header(self, name: bytes) -> list[bytes]:
        """All values of one header; `name` in lower case."""
        return [value for given, value in self.headers if given.lower() == name]


class WebhookReply(Struct, frozen=True):
    """What the provider is answered: a challenge, TwiML, JSON."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"


EMPTY_REPLY = WebhookReply()


class BatchPart(NamedTuple):
    """A part of a batch, as a body of its own."""

    account: str
    body: bytes


class Accepted(Struct, frozen=True):
    """A verified request: its body is appended under `account` before it is parsed further, then `reply` is sent.

    A batch that may be larger than a record of the log is given as `parts`, which are appended in place of the body.
    """

    account: str  # the provider's account id, "" where it cannot be told cheaply
    headers: Mapping[str, str] = {}  # kept beside the body: what path and query say
    reply: WebhookReply = EMPTY_REPLY
    parts: Sequence[BatchPart] = ()


class Denied(Struct, frozen=True):
    status: int  # 401, 403, 415 …
    reason: str


Verdict = Accepted | Denied | WebhookReply


class Accounts(Protocol):
    """Connected channels and their secrets, looked up before a request is verified."""

    def by_account(self, kind: str, account: str) -> Channel | None: ...
    def by_id(self, channel_id: str) -> Channel | None: ...
    def of_kind(self, kind: str) -> Iterable[Channel]: ...  # for requests that only a signature tells apart

    def secrets(self, channel: Channel, name: str, configured: Sequence[Secret] = ()) -> Sequence[Secret]:
        """What may have signed the channel's webhooks, unsealed, the newest first: its own secret of that name or else
        the configured ones; for a time after the channel was connected with other credentials, the previous ones too.
        """
        ...


# --- routing


class Channels(Protocol):
    def by_account(self, kind: str, account: str) -> Channel | None:
        """The connected channel of this provider account."""
        ...

    def conversations(self, key: IdentityKey) -> Collection[str]:
        """Those that a participant's name belongs to, the one it was given first; see `airy/sources/identity.py`.

        Known for the keys that `identities` names, empty for all others.
        """
        ...


class AccountKey(NamedTuple):
    """A provider account, within the kind of channel it would be."""

    kind: str
    account: str


class Uneventful(Exception):
    """A part of a webhook holds no content and says nothing to keep. Raised by the readers of a source."""


class Routed(Struct, frozen=True):
    """What one raw event means.

    `unknown`: accounts without a connected channel. The router parks the event once for each of a kind of its own
    source, and hands the event to the source that has the kind otherwise. `unreadable` names parts that cannot be read,
    with the reason: their content would be lost, so they become a dead letter. `noted` names parts that say nothing to
    keep.
    """

    facts: list[Fact]
    unknown: list[AccountKey]
    unreadable: list[str]
    noted: list[str] = []


# --- sending


class Target(Struct, frozen=True, kw_only=True):
    """Where a message goes. `credentials` are unsealed, by the names the kind declares, and those of the owner."""

    channel: Channel
    conversation: Conversation | None = None
    owner: CustomSource | None = None  # of a channel of the open kind: the entity that `Channel.source` names
    credentials: Mapping[str, Secret] = {}

    def recipient(self, message: Message) -> str | None:
        """The participant that the message names, or else the conversation; of several names of the conversation's
        participant the one that is answered to now, which may have changed while the message waited.
        """
        known, given = self.conversation, message.recipient_id
        if known is None or known.participant_id is None:
            return given
        own = given is None or given in known.aliases or ids.conversation_id(self.channel.id, given) == known.id
        return known.participant_id if own else given


class Call(Struct, frozen=True):
    """One HTTP request to a provider. URL and headers may hold secrets, so neither they nor the body are printed."""

    method: str
    url: Secret
    headers: Mapping[str, Secret]
    body: bytes | None = None
    secrets: tuple[Secret, ...] = ()  # texts that must not be repeated from what a client or the provider says

    def __repr__(self) -> str:
        return f"Call({self.method} {self.host}, {len(self.body or b'')} bytes)"

    __str__ = __repr__

    @property
    def host(self) -> str:
        return urlsplit(self.url.reveal()).hostname or ""

    def masked(self, text: str) -> str:
        """`text` without this call's secrets."""
        for secret in (self.url, *self.secrets):
            if secret:
                text = text.replace(secret.reveal(), MASK)
        return text

    def masked_bytes(self, body: bytes) -> bytes:
        """`body` without this call's secrets as they were sent."""
        for secret in (self.url, *self.secrets):
            if secret:
                body = body.replace(secret.reveal().encode(), MASK.encode())
        return body


class Sent(Struct, frozen=True):
    """`pause_s` and `app_pause_s`: how long the provider wants no call of the channel, and of the source, because a
    limit is near. `metadata`: what the answer adds to the message.
    """

    provider_id: str | None
    pause_s: float = 0.0
    app_pause_s: float = 0.0
    metadata: Mapping[str, Raw] = {}


class Failed(Struct, frozen=True):
    """A recorded failure: the provider did not take it. `again_s` None: final.

    `stop_lane`: the channel's credentials are bad. `attempts_max`: the failure of this many attempts is final.
    `app_wide`: it concerns every call of the source, whatever the account; `contact_only`: this contact's alone.
    `renamed`: what the provider calls the contact from now on.
    """

    kind: ErrorKind
    error: str
    code: str = ""
    detail: Raw | None = None
    again_s: float | None = None
    stop_lane: bool = False
    attempts_max: int | None = None
    app_wide: bool = False
    contact_only: bool = False
    renamed: str | None = None


class Lost(Struct, frozen=True):
    """The provider may have taken it: never repeat blindly."""

    reason: str


Outcome = Sent | Failed | Lost


# --- management


class Setting(Struct, frozen=True):
    """Something the operator pastes at the provider. `value` may be a secret: show it once, to the caller alone."""

    name: str
    value: Secret


class Connected(Struct, frozen=True, kw_only=True):
    """An account that is connected at the provider: what to store, and what is left to do there by hand."""

    account: str  # `Channel.source_channel_id`
    name: str
    image_url: str | None = None
    metadata: Mapping[str, str] = {}
    credentials: Mapping[str, Secret] = {}  # to be sealed, by the names the kind declares
    credentials_valid_s: float | None = None  # None: they do not expire, or it is not known when
    instructions: str = ""  # empty: nothing is left to do
    settings: tuple[Setting, ...] = ()


def _without_a_clock() -> int:
    raise RuntimeError("this installation was described without a clock")


class Installation(Struct, frozen=True, kw_only=True):
    """What connecting needs to know about this installation."""

    derived_secret: Callable[[str], Secret]  # the same for the same text, and known to this installation alone
    public_url: str = ""  # https://host, without a slash at the end; empty: not configured
    now_ms: Callable[[], int] = _without_a_clock  # for a token exchange


class Account(Struct, frozen=True):
    """One account `explore` found."""

    source_channel_id: str
    name: str
    image_url: str | None
    connected: bool


class Checked(Struct, frozen=True, kw_only=True):
    """What a check of a channel found at the provider.

    `problem`: why the channel does not work, and what an operator does about it; empty: it works.
    `repaired`: what was wrong and is right again.
    `credentials`: new ones that replace those of the same names, valid for `credentials_valid_s`; none that verifies
    webhooks.
    """

    problem: str = ""
    repaired: str = ""
    credentials: Mapping[str, Secret] = {}
    credentials_valid_s: float | None = None


class Profile(Struct, frozen=True):
    found: bool
    display_name: str | None = None
    avatar_url: str | None = None


class Source(Protocol):
    """Built from its section and the public address of the installation. No method reads a clock or a random source."""

    spec: SourceSpec

    def __init__(self, section: SourceSection, public_url: str) -> None: ...

    def canonical(self, content: object) -> Contents:
        """What the content of a message fact says, in common terms. `content` is decoded JSON."""
        ...

    def encode(self, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:
        """Calls in the order they are made. All but the last prepare and may be repeated; the last one delivers. None
        where there is no provider.
        """
        ...

    def interpret(self, answers: Sequence[Response], now_ms: int) -> Outcome:
        """`answers` to the calls that were made, at least one; shorter than the calls if one was not a success."""
        ...

    async def connect(self, client: HttpClient, kind: str, form: ChannelForm, installation: Installation) -> Connected:
        """Raises `Refused`, `Unavailable`."""
        ...

    async def disconnect(self, client: HttpClient, target: Target, others: Collection[Channel]) -> str | None:
        """Asks the provider for no more webhooks of this channel. `others` are connected too and keep what they share
        with it. Returns why that did not work, None if it did; never raises.
        """
        ...


class WebhookSource(Source, Protocol):
    """A source whose specification has webhooks."""

    def verify(self, request: WebhookRequest, accounts: Accounts) -> Verdict: ...

    def route(self, record: Record, channels: Channels) -> Routed:
        """Deterministic: the same record and channels give the same facts. Raises `Undecodable`."""
        ...


class IdentifyingSource(WebhookSource, Protocol):
    """A source whose specification has `identities`."""

    def identities(self, record: Record, channels: Channels) -> Collection[IdentityKey]:
        """The names in a raw event that `route` looks up. Never raises."""
        ...
