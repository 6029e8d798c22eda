"""What a test needs to know about a provider: how it signs, what its webhooks look like, how it answers calls.

Written from the providers' documentation and not from our sources, so that a mistake has to be made twice.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from airy.http_client import Response
from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.secret import Secret
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import WebhookRequest, WebhookSource
from airy.sources.spec import Capabilities, ChannelForm, SourceSection, SourceSpec

PUBLIC_URL = "https://inbox.example.org"
JSON = "application/json"

Headers = list[tuple[bytes, bytes]]


class Webhook(Struct, frozen=True, kw_only=True):
    """A request a provider makes; `account` is whose it is."""

    path: str
    body: bytes
    account: str
    query: str = ""
    content_type: str = JSON

    @property
    def url(self) -> str:
        return f"{PUBLIC_URL}{self.path}{'?' if self.query else ''}{self.query}"


class Request(Struct, frozen=True):
    """A call of ours as the provider receives it. `fields` of a JSON object or a form, and of the query."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    fields: Mapping[str, object]

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


class Taken(Struct, frozen=True):
    """A message of ours as the provider understands it."""

    recipient: str
    text: str | None
    our_id: str | None = None  # where the provider takes one


def request_of(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Request:
    named = {name.lower(): value for name, value in headers.items()}
    fields: dict[str, object] = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    if body and named.get("content-type", "").startswith(JSON):
        fields |= msgspec.json.decode(body)
    elif body:
        fields |= dict(parse_qsl(body.decode(), keep_blank_values=True))
    return Request(method, url, named, body or b"", fields)


def answer(status: int, document: object, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, {"content-type": JSON, **named}, msgspec.json.encode(document))


class Wire(ABC):
    """One provider. `secrets` must never be printed; messages go to `host`."""

    spec: ClassVar[SourceSpec]
    section: ClassVar[SourceSection]
    host: ClassVar[str]
    more_hosts: ClassVar[tuple[str, ...]] = ()  # which are called for what is no message
    secrets: ClassVar[tuple[str, ...]]
    accounts: ClassVar[Mapping[str, str]]  # kind to the account that is connected
    participant: ClassVar[str]
    signs_body: ClassVar[bool] = True
    mismatch: ClassVar[int] = 403  # the answer to another signature: the provider repeats the webhook
    text: ClassVar[Mapping[str, object]]  # a message in the provider's own shape
    addresses: ClassVar[tuple[str, ...]]  # keys of the section that say where the provider is

    def at(self, url: str) -> SourceSection:
        """The section of a provider that is served at `url`."""
        return replace(self.section, **dict.fromkeys(self.addresses, url))

    def source(self) -> WebhookSource:
        built: WebhookSource = self.spec.load()(self.section, PUBLIC_URL)
        return built

    def capabilities(self, kind: str) -> Capabilities:
        declared = self.spec.kind(kind)
        assert declared is not None
        return declared.capabilities

    @property
    def kind(self) -> str:
        return self.spec.kinds[0].name

    def kind_of(self, account: str) -> str:
        return self.kind

    def channel(self, account: str, *, connected: bool = True) -> Channel:
        kind = self.kind_of(account)
        declared = self.spec.kind(kind)
        assert declared is not None
        channel_id = ids.channel_id(declared.namespace, account)
        return Channel(id=channel_id, source=kind, source_channel_id=account, connected=connected)

    def connected(self, *accounts: str) -> ConnectedChannels:
        return ConnectedChannels(map(self.channel, accounts), unseal=self.secret)

    def secret(self, channel: Channel, name: str) -> Secret | None:
        return self.credentials(channel.source).get(name)

    def request(self, webhook: Webhook, *, headers: Headers | None = None) -> WebhookRequest:
        """As ingress makes it, signed unless other headers are given."""
        return WebhookRequest(
            method="POST",
            url=webhook.url,
            path=webhook.path,
            query=webhook.query,
            parameters=self.parameters(webhook),
            headers=self.signed(webhook) if headers is None else headers,
            body=webhook.body,
        )

    def parameters(self, webhook: Webhook) -> dict[str, str]:
        return {}

    @abstractmethod
    def credentials(self, kind: str) -> dict[str, Secret]: ...

    @abstractmethod
    def form(self, kind: str) -> ChannelForm:
        """What connects the account of `accounts`."""

    # --- webhooks

    @abstractmethod
    def signed(self, webhook: Webhook) -> Headers: ...

    @abstractmethod
    def forged(self, webhook: Webhook) -> Headers:
        """Well-formed, by a sender that does not know the secret."""

    @abstractmethod
    def wrapped(self, body: bytes, account: str) -> Webhook:
        """A raw body as the provider posts it for an account."""

    @abstractmethod
    def received(self, kind: str, number: int, text: str, at_ms: int) -> Webhook:
        """The contact writes their message number `number`."""

    def receipt(self, kind: str, provider_id: str, state: DeliveryState, at_ms: int) -> Webhook | None:
        return None

    def echo(self, kind: str, provider_id: str, taken: Taken, at_ms: int) -> Webhook | None:
        return None

    # --- calls

    @abstractmethod
    def taken(self, request: Request) -> Taken | None:
        """None if the request is no message."""

    @abstractmethod
    def ok(self, kind: str, taken: Taken, number: int) -> tuple[str, Response]:
        """The provider's id of the message number `number` it took, and its answer."""

    def issues_token(self, request: Request) -> bool:
        """Whether the request exchanges credentials for a token, before a message."""
        return False

    @abstractmethod
    def rate_limited(self, delay_s: int) -> Response: ...

    @abstractmethod
    def token_refused(self) -> Response: ...

    @abstractmethod
    def contact_blocked(self) -> Response: ...

    @abstractmethod
    def managed(self, request: Request) -> Response:
        """The answer to a call that is no message: connect, disconnect, explore, profile, media."""
