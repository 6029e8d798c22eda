"""Google Business Messages: ties the parts of the contract together."""

from collections.abc import Collection, Sequence

from airy.bus.record import Record
from airy.http_client import HttpClient, Response
from airy.model.conversation import Message
from airy.model.entity import Channel
from airy.sources import payload
from airy.sources.api import (
    Accounts,
    Call,
    Channels,
    Connected,
    Failed,
    Installation,
    Outcome,
    Routed,
    Target,
    Verdict,
    WebhookRequest,
)
from airy.sources.canonical import Contents
from airy.sources.google import content as contents
from airy.sources.google import encode, interpret, manage, route, verify
from airy.sources.google.spec import SPEC, ConnectAgent, GoogleSection
from airy.sources.google_api.access_token import UNAUTHENTICATED, AccessTokens
from airy.sources.spec import ChannelForm, SourceSection, narrow

SCOPE = "https://www.googleapis.com/auth/businessmessages"


class Google:
    spec = SPEC

    def __init__(self, section: SourceSection, public_url: str = "") -> None:  # noqa: ARG002 - given again to connect
        self._section = narrow(section, GoogleSection)
        self._tokens = AccessTokens(self._section.oauth_url, SCOPE)

    def verify(self, request: WebhookRequest, accounts: Accounts) -> Verdict:
        return verify.verify(self._section, request, accounts)

    def route(self, record: Record, channels: Channels) -> Routed:
        return route.route(record, channels)

    def canonical(self, content: object) -> Contents:
        return contents.canonical_of(payload.record(content))

    async def authorize(self, client: HttpClient, target: Target, now_ms: int) -> Target:
        return await self._tokens.authorized(client, target, self._section.sa_file, now_ms)

    def encode(self, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:  # noqa: ARG002
        return encode.encode(self._section, message, target)

    def interpret(self, answers: Sequence[Response], now_ms: int) -> Outcome:  # noqa: ARG002 - no dates in answers
        if answers[-1].status == UNAUTHENTICATED:
            self._tokens.forget()
        return interpret.interpret(answers)

    async def connect(
        self,
        client: HttpClient,
        kind: str,  # noqa: ARG002 - there is one
        form: ChannelForm,
        installation: Installation,
    ) -> Connected:
        return await manage.connect(client, self._section, self._tokens, narrow(form, ConnectAgent), installation)

    async def disconnect(self, client: HttpClient, target: Target, others: Collection[Channel]) -> str | None:  # noqa: ARG002
        return None  # the webhook is set at Google, for all agents of a partner

    def mark_read(self, target: Target, provider_id: str) -> Sequence[Call]:
        return encode.read(self._section, target, provider_id)

    def typing(self, target: Target, provider_id: str | None) -> Sequence[Call]:
        return encode.typing(self._section, target, provider_id)
