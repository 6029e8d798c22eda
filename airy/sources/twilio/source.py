"""Twilio: ties the parts of the contract together."""

from collections.abc import Collection, Sequence

from airy.bus.record import Record
from airy.http_client import HttpClient, Response
from airy.model.conversation import Message
from airy.model.entity import Channel
from airy.model.identity import IdentityKey
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
from airy.sources.twilio import content as contents
from airy.sources.twilio import encode, interpret, manage, route, verify
from airy.sources.twilio.spec import SPEC, ConnectNumber, TwilioSection


class Twilio:
    spec = SPEC

    def __init__(self, section: SourceSection, public_url: str = "") -> None:
        self._section = narrow(section, TwilioSection)
        self._public_url = public_url

    def verify(self, request: WebhookRequest, accounts: Accounts) -> Verdict:
        return verify.verify(self._section, request, accounts)

    def identities(self, record: Record, channels: Channels) -> Collection[IdentityKey]:
        return route.identities(record, channels)

    def route(self, record: Record, channels: Channels) -> Routed:
        return route.route(record, channels)

    def canonical(self, content: object) -> Contents:
        return contents.canonical_of(content)

    def encode(self, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:  # noqa: ARG002
        return encode.encode(self._section, self._public_url, message, target)

    def interpret(self, answers: Sequence[Response], now_ms: int) -> Outcome:  # noqa: ARG002 - no dates in answers
        return interpret.interpret(answers)

    async def connect(self, client: HttpClient, kind: str, form: ChannelForm, installation: Installation) -> Connected:
        return await manage.connect(client, self._section, kind, narrow(form, ConnectNumber), installation)

    async def disconnect(self, client: HttpClient, target: Target, others: Collection[Channel]) -> str | None:  # noqa: ARG002
        return await manage.disconnect(client, self._section, self._public_url, target)

    async def check(self, client: HttpClient, target: Target, now_ms: int) -> Checked:  # noqa: ARG002 - tokens do not expire
        return await manage.check(client, self._section, self._public_url, target)

    async def media(self, client: HttpClient, target: Target, reference: str) -> Call:  # noqa: ARG002 - the address is known
        return await manage.media(self._section, target, reference)

    def mark_read(self, target: Target, provider_id: str) -> Sequence[Call]:  # noqa: ARG002
        return ()  # the typing indicator marks a message read, and nothing else does

    def typing(self, target: Target, provider_id: str | None) -> Sequence[Call]:
        return encode.typing(self._section, target, provider_id)
