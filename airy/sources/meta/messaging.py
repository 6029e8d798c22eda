"""What Messenger and Instagram have in common: webhooks, messages and answers differ by specification and dialect.

A folder adds its specification, its management calls, and the class that extends this one.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from airy.bus.record import Record
from airy.http_client import Response
from airy.model.conversation import Message
from airy.secret import Secret
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
    Setting,
    Target,
    Verdict,
    WebhookRequest,
)
from airy.sources.canonical import Contents
from airy.sources.meta import answer, content, envelope, send_request, signature
from airy.sources.meta.app import MetaApp, app_of
from airy.sources.meta.message_rules import Dialect
from airy.sources.meta.section import MetaSection
from airy.sources.spec import SourceSection, SourceSpec, narrow

ONCE = (
    "Once for the app, in its dashboard: let the webhook of {} call {} at the public address of this installation, "
    "with webhookSecret as verify token; subscribe it to webhook_fields; switch the app to Live."
)


class MetaMessaging:
    """`webhook_object` and `webhook_fields` are what the app's webhook is subscribed to, in Meta's words."""

    spec: SourceSpec
    dialect: Dialect
    webhook_object: str
    webhook_fields: Sequence[str]

    def __init__(self, section: SourceSection, public_url: str = "") -> None:  # noqa: ARG002 - Meta calls one fixed address
        self.app = app_of(narrow(section, MetaSection))

    def app_of(self, target: Target) -> MetaApp:  # noqa: ARG002 - some kinds have channels of several apps
        """The app that a channel's calls are made with."""
        return self.app

    def connected(self, done: Connected, installation: Installation) -> Connected:
        """With what is left to do in the app's dashboard."""
        (path,) = self.spec.webhooks
        url = (Setting("webhook_url", Secret(f"{installation.public_url}{path}")),) if installation.public_url else ()
        fields = Setting("webhook_fields", Secret(",".join(self.webhook_fields)))
        return replace(done, instructions=ONCE.format(self.webhook_object, path), settings=(*url, fields))

    def verify(self, request: WebhookRequest, accounts: Accounts) -> Verdict:  # noqa: ARG002 - secrets are the app's
        return signature.verify(self.app, request)

    def route(self, record: Record, channels: Channels) -> Routed:
        return envelope.route(record, channels, self.spec.name)

    def canonical(self, content_of: object) -> Contents:
        return content.canonical_of(payload.record(content_of))

    def encode(self, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:
        return send_request.encode(self.app_of(target), self.dialect, message, target, now_ms)

    def interpret(self, answers: Sequence[Response], now_ms: int) -> Outcome:  # noqa: ARG002 - Meta's answers carry no dates
        return answer.interpret(answers[-1], self.dialect.title)

    def mark_read(self, target: Target, provider_id: str) -> Sequence[Call]:  # noqa: ARG002 - Meta marks the thread
        return send_request.signal(self.app_of(target), target, "mark_seen")

    def typing(self, target: Target, provider_id: str | None) -> Sequence[Call]:  # noqa: ARG002
        return send_request.signal(self.app_of(target), target, "typing_on")
