"""Telegram: ties the parts of the contract together."""

from collections.abc import Collection, Sequence

from airy.bus.record import Record
from airy.http_client import HttpClient, Response
from airy.model.conversation import Message
from airy.model.entity import Channel
from airy.model.identity import IdentityKey
from airy.sources import payload
from airy.sources.api import (
    Accounts,
    Call,
    Channels,
    Checked,
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
from airy.sources.spec import ChannelForm, SourceSection, narrow
from airy.sources.telegram import content as contents
from airy.sources.telegram import encode, interpret, manage, route, verify
from airy.sources.telegram.spec import SPEC, ConnectBot, TelegramSection


class Telegram:
    spec = SPEC

    def __init__(self, section: SourceSection, public_url: str = "") -> None:
        self._section = narrow(section, TelegramSection)
        self._public_url = public_url

    def verify(self, request: WebhookRequest, accounts: Accounts) -> Verdict:
        return verify.verify(request, accounts)

    def route(self, record: Record, channels: Channels) -> Routed:
        return route.route(record, channels)

    def identities(self, record: Record, channels: Channels) -> Collection[IdentityKey]:
        return route.identities(record, channels)

    def canonical(self, content: object) -> Contents:
        return contents.canonical_of(payload.record(content))

    def encode(self, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:  # noqa: ARG002
        return encode.encode(self._section, message, target)

    def interpret(self, answers: Sequence[Response], now_ms: int) -> Outcome:  # noqa: ARG002 - no dates in answers
        return interpret.interpret(answers)

    async def connect(
        self,
        client: HttpClient,
        kind: str,  # noqa: ARG002 - there is one
        form: ChannelForm,
        installation: Installation,
    ) -> Connected:
        return await manage.connect(client, self._section, narrow(form, ConnectBot), installation)

    async def disconnect(self, client: HttpClient, target: Target, others: Collection[Channel]) -> str | None:  # noqa: ARG002
        return await manage.disconnect(client, self._section, target)

    async def check(self, client: HttpClient, target: Target, now_ms: int) -> Checked:
        return await manage.check(client, self._section, self._public_url, target, now_ms)

    async def media(self, client: HttpClient, target: Target, reference: str) -> Call:
        return await manage.media(client, self._section, target, reference)

    def mark_read(self, target: Target, provider_id: str) -> Sequence[Call]:
        return encode.mark_read(self._section, target, provider_id)

    def typing(self, target: Target, provider_id: str | None) -> Sequence[Call]:  # noqa: ARG002
        return encode.typing(self._section, target)
