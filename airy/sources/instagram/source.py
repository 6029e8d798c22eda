"""Instagram: ties the parts of the contract together."""

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
    Profile,
    Routed,
    Target,
    Verdict,
    WebhookRequest,
)
from airy.sources.canonical import Contents
from airy.sources.instagram import encode, interpret, manage, route, verify
from airy.sources.instagram.spec import SPEC, ConnectAccount
from airy.sources.meta import content as contents
from airy.sources.meta.app import app_of
from airy.sources.meta.section import MetaSection
from airy.sources.spec import ChannelForm, SourceSection, narrow


class Instagram:
    spec = SPEC

    def __init__(self, section: SourceSection, public_url: str = "") -> None:  # noqa: ARG002 - Meta calls one fixed address
        self.app = app_of(narrow(section, MetaSection))

    def verify(self, request: WebhookRequest, accounts: Accounts) -> Verdict:  # noqa: ARG002 - secrets are the app's
        return verify.verify(self.app, request)

    def route(self, record: Record, channels: Channels) -> Routed:
        return route.route(record, channels)

    def canonical(self, content: object) -> Contents:
        return contents.canonical_of(payload.record(content))

    def encode(self, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:
        return encode.encode(self.app, message, target, now_ms)

    def interpret(self, answers: Sequence[Response], now_ms: int) -> Outcome:  # noqa: ARG002 - Meta's answers carry no dates
        return interpret.interpret(answers)

    async def connect(
        self,
        client: HttpClient,
        kind: str,  # noqa: ARG002 - there is one
        form: ChannelForm,
        installation: Installation,  # noqa: ARG002 - Meta calls one fixed address
    ) -> Connected:
        return await manage.connect(client, self.app, narrow(form, ConnectAccount))

    async def disconnect(self, client: HttpClient, target: Target, others: Collection[Channel]) -> str | None:
        return await manage.disconnect(client, self.app, target, others)

    async def profile(self, client: HttpClient, target: Target) -> Profile:
        return await manage.profile(client, self.app, target)

    def mark_read(self, target: Target, provider_id: str) -> Sequence[Call]:  # noqa: ARG002 - Meta marks the thread
        return encode.mark_read(self.app, target)

    def typing(self, target: Target, provider_id: str | None) -> Sequence[Call]:  # noqa: ARG002
        return encode.typing(self.app, target)
