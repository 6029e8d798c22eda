"""The write side of the API: a request is published as facts or entities and answered with its outcome.

Business rules are the fold's, because only log order can decide between concurrent writes. Commands check what a caller
should be told at once (no such conversation, a disconnected channel) and leave everything that could race to the log.
"""

from airy.commands.api_tokens import ApiTokenCommands, TokenGrant, TokenWithText
from airy.commands.audit import AuditTrail
from airy.commands.channel_secrets import ChannelSecrets
from airy.commands.channels import ChannelCommands, ConnectResult, SourceOf
from airy.commands.contacts import ContactCommands
from airy.commands.conversations import ConversationCommands
from airy.commands.custom_sources import CustomSourceCommands, IngestCommands, Refresh, SourceChanges, no_refresh
from airy.commands.dead_deliveries import DeadDeliveryCommands
from airy.commands.dead_letters import DeadLetterCommands
from airy.commands.endpoint_tests import EndpointTests
from airy.commands.entities import TagCommands, TemplateCommands
from airy.commands.errors import (
    Conflict,
    Forbidden,
    NotFound,
    TooManyRequests,
    Unauthenticated,
    WriteUnconfirmed,
)
from airy.commands.messages import MessageCommands
from airy.commands.metadata import MetadataCommands, Subject
from airy.commands.provider_calls import ProviderCalls
from airy.commands.signals import SignalCommands
from airy.commands.topic_browser import TopicBrowser
from airy.commands.users import UserCommands, UserProfile
from airy.commands.visitor_settings import VisitorSettings
from airy.commands.visitor_tokens import Visit, VisitorTokens
from airy.commands.visitors import VisitorCommands, VisitStart
from airy.commands.webhooks import WebhookChanges, WebhookCommands, WebhookWithSecret
from airy.commands.writer import RequestContext, WaitForPosition, Writer, Written
from airy.egress import UNRESTRICTED, EgressPolicy
from airy.http_client import HttpClient
from airy.seal import Sealer
from airy.sources.api import Installation
from airy.sources.provider_pauses import ProviderPauses
from airy.store.api import StoreQueries

__all__ = [
    "ApiTokenCommands",
    "AuditTrail",
    "ChannelSecrets",
    "Commands",
    "Conflict",
    "ConnectResult",
    "CustomSourceCommands",
    "DeadLetterCommands",
    "EndpointTests",
    "Forbidden",
    "NotFound",
    "RequestContext",
    "SourceChanges",
    "SourceOf",
    "Subject",
    "TokenGrant",
    "TokenWithText",
    "TooManyRequests",
    "TopicBrowser",
    "Unauthenticated",
    "UserProfile",
    "Visit",
    "VisitStart",
    "VisitorCommands",
    "VisitorSettings",
    "WaitForPosition",
    "WebhookChanges",
    "WebhookWithSecret",
    "WriteUnconfirmed",
    "Writer",
    "Written",
]


class Commands:
    """All command groups, over one set of ports."""

    def __init__(
        self,
        writer: Writer,
        store: StoreQueries,
        sealer: Sealer,
        source_of: SourceOf,
        provider_http: HttpClient,
        installation: Installation,
        *,
        message_ttl_s: float = 900.0,
        egress_policy: EgressPolicy = UNRESTRICTED,
        pauses: ProviderPauses | None = None,
        visitors: VisitorSettings | None = None,
        refresh: Refresh = no_refresh,
    ) -> None:
        self.api_tokens = ApiTokenCommands(writer, store)
        pauses, secrets = pauses or ProviderPauses(), ChannelSecrets(sealer)
        calls = ProviderCalls(pauses)
        self.audit = AuditTrail(writer)
        self.channels = ChannelCommands(writer, store, secrets, source_of, provider_http, installation, calls)
        self.custom_sources = CustomSourceCommands(writer, store, sealer, egress_policy=egress_policy)
        self.ingest = IngestCommands(writer, store, self.custom_sources, refresh)
        self.contacts = ContactCommands(writer, store)
        self.conversations = ConversationCommands(writer, store)
        self.dead_deliveries = DeadDeliveryCommands(writer, store)
        self.messages = MessageCommands(writer, store, message_ttl_s=message_ttl_s)
        self.metadata = MetadataCommands(writer, store)
        self.signals = SignalCommands(store, secrets, source_of, provider_http, pauses, writer.now_ms)
        self.tags = TagCommands(writer, store)
        self.templates = TemplateCommands(writer, store)
        self.users = UserCommands(writer, store)
        self.visitors = VisitorCommands(writer, store, VisitorTokens(sealer, writer.now_ms), visitors)
        self.webhooks = WebhookCommands(writer, store, sealer, egress_policy=egress_policy)
