"""WhatsApp Cloud API: ties the parts of the contract together."""

from collections.abc import Collection, Sequence

from msgspec.structs import replace

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
from airy.sources.meta.app import app_of
from airy.sources.spec import ChannelForm, SourceSection, narrow
from airy.sources.whatsapp import content as contents
from airy.sources.whatsapp import encode, interpret, manage, route, verify
from airy.sources.whatsapp.spec import SPEC, ConnectCloudNumber, WhatsAppSection


class WhatsApp:
    spec = SPEC

    def __init__(self, section: SourceSection, public_url: str = "") -> None:  # noqa: ARG002 - given again to connect
        self.app = replace(app_of(narrow(section, WhatsAppSection)), title="whatsapp")

    def verify(self, request: WebhookRequest, accounts: Accounts) -> Verdict:  # noqa: ARG002 - secrets are the app's
        return verify.verify(self.app, request)

    def identities(self, record: Record, channels: Channels) -> Collection[IdentityKey]:
        return route.identities(record, channels)

    def route(self, record: Record, channels: Channels) -> Routed:
        return route.route(record, channels)

    def canonical(self, content: object) -> Contents:
        return contents.canonical_of(payload.record(content))

    def encode(self, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:
        return encode.encode(self.app, message, target, now_ms)

    def interpret(self, answers: Sequence[Response], now_ms: int) -> Outcome:  # noqa: ARG002 - no dates in answers
        return interpret.interpret(answers)

    async def connect(
        self,
        client: HttpClient,
        kind: str,  # noqa: ARG002 - there is one
        form: ChannelForm,
        installation: Installation,
    ) -> Connected:
        return await manage.connect(client, self.app, narrow(form, ConnectCloudNumber), installation)

    async def disconnect(self, client: HttpClient, target: Target, others: Collection[Channel]) -> str | None:
        return await manage.disconnect(client, self.app, target, others)

    async def check(self, client: HttpClient, target: Target, now_ms: int) -> Checked:  # noqa: ARG002 - tokens of system users do not expire
        return await manage.check(client, self.app, target)

    async def media(self, client: HttpClient, target: Target, reference: str) -> Call:
        return await manage.media(client, self.app, target, reference)

    def mark_read(self, target: Target, provider_id: str) -> Sequence[Call]:
        return encode.mark_read(self.app, target, provider_id)

    def typing(self, target: Target, provider_id: str | None) -> Sequence[Call]:
        return encode.typing(self.app, target, provider_id)
