"""Schemas of the response bodies, for the OpenAPI document only; tests validate every response against them.

`airy.model.render` builds the bodies, for HTTP, webhooks and the websocket alike. `ListSchema[X]` and `PageSchema[X]`
appear in OpenAPI as `XList` and `XPage`; every other class appears without its suffix `Schema`.
"""

from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct

from airy.components import Service
from airy.http.field_error import FieldError
from airy.model.entity import Color
from airy.permissions import GrantedPermission, GrantedRole

T = TypeVar("T")

Document = dict[str, Any]


class ProblemSchema(Struct, forbid_unknown_fields=True):
    message: str
    code: str
    fields: list[FieldError]


class ListSchema(Struct, Generic[T], forbid_unknown_fields=True):
    data: list[T]


class PaginationSchema(Struct, forbid_unknown_fields=True):
    previous_cursor: str | None
    next_cursor: str | None
    total: int
    complete: bool = True


class PageSchema(Struct, Generic[T], forbid_unknown_fields=True):
    data: list[T]
    pagination_data: PaginationSchema


class SenderSchema(Struct, forbid_unknown_fields=True):
    id: str
    name: str | None
    avatar_url: str | None


class MessageSchema(Struct, forbid_unknown_fields=True):
    id: str
    content: Any
    sent_at: str
    delivery_state: Literal["pending", "failed", "delivered"]
    from_contact: bool
    source: str
    metadata: Document
    sender: SenderSchema
    canonical: list[Document] = []  # absent where the content is known in the provider's own terms only


class VisitorMessageSchema(Struct, forbid_unknown_fields=True):
    """A message as the visitor of a chat plugin sees it."""

    id: str
    content: Any
    sent_at: str
    delivery_state: Literal["pending", "failed", "delivered"]
    from_contact: bool
    source: str
    metadata: None
    sender: SenderSchema


class VisitorEventSchema(Struct, forbid_unknown_fields=True):
    """What a socket of a visitor is sent."""

    conversation_id: str
    channel_id: str
    message: VisitorMessageSchema


class VisitStartSchema(Struct, forbid_unknown_fields=True):
    token: str
    resume_token: str
    messages: list[VisitorMessageSchema]


class ResumeTokenSchema(Struct, forbid_unknown_fields=True):
    resume_token: str


class WidgetSchema(Struct, forbid_unknown_fields=True):
    name: str | None
    image_url: str | None
    config: Document


class ChannelSchema(Struct, forbid_unknown_fields=True):
    id: str
    source: str
    source_channel_id: str
    connected: bool
    metadata: Document


class ListedChannelSchema(ChannelSchema, forbid_unknown_fields=True):
    """`webhook_url` is what to paste at the provider, if it is known. The times are of the newest messages."""

    webhook_url: str | None
    last_inbound_at: str | None
    last_outbound_at: str | None


class ConnectedChannelSchema(Struct, forbid_unknown_fields=True):
    """`instructions` and `settings` are present if something is left to do at the provider by hand."""

    id: str
    source: str
    source_channel_id: str
    connected: bool
    metadata: Document
    instructions: str = ""
    settings: dict[str, str] = {}


class ConversationSchema(Struct, forbid_unknown_fields=True):
    """`state_version` names this state of the conversation, for `conversations.set-state` and `remove-state`."""

    id: str
    created_at: str
    channel: ChannelSchema
    metadata: Document
    state_version: int
    last_message: MessageSchema | None


class PostalAddressSchema(Struct, forbid_unknown_fields=True):
    organization_name: str | None
    address_line1: str | None
    address_line2: str | None
    postal_code: str | None
    city: str | None
    state: str | None
    country: str | None


class FormerContactSchema(Struct, forbid_unknown_fields=True):
    """`created_at` and `updated_at` are in ms; `updated_at` is null until the first change."""

    id: str
    display_name: str | None
    avatar_url: str | None
    title: str | None
    gender: str | None
    timezone: int | None
    locale: str | None
    organization_name: str | None
    via: dict[str, str]
    address: PostalAddressSchema
    conversations: dict[str, str]
    metadata: Any
    created_at: int
    updated_at: int | None


class ContactSchema(FormerContactSchema, forbid_unknown_fields=True):
    """`version` names this state of the contact, for `contacts.update` and `contacts.delete`."""

    version: int


class MergedContactSchema(ContactSchema, forbid_unknown_fields=True):
    merge_history: list[FormerContactSchema]


class TagSchema(Struct, forbid_unknown_fields=True):
    id: str
    name: str
    color: Color


class TemplateSchema(Struct, forbid_unknown_fields=True):
    id: str
    name: str
    source: str
    content: Any


class DeadLetterSchema(Struct, forbid_unknown_fields=True):
    id: str
    topic: str
    partition: int
    offset: int
    key: str
    reason: str
    attempts: int
    first_seen_at: str
    dead_lettered_at: str
    trace_id: str | None
    size_bytes: int
    state: Literal["open", "replayed", "discarded"]
    resolved_at: str | None
    resolved_by: str | None
    resolution_reason: str | None


class RecordHeaderSchema(Struct, forbid_unknown_fields=True):
    name: str
    value: str


class DeadLetterDetailSchema(DeadLetterSchema, forbid_unknown_fields=True):
    headers: list[RecordHeaderSchema]
    body_encoding: Literal["text", "base64"]
    body: str


class DeadLetterOutcomeSchema(Struct, forbid_unknown_fields=True):
    id: str
    result: Literal["replayed", "discarded", "already_replayed", "already_discarded"]


class HopSchema(Struct, forbid_unknown_fields=True):
    kind: str
    outcome: str
    at: str | None
    since_previous_ms: int | None
    took_ms: int | None
    topic: str | None
    partition: int | None
    offset: int | None
    detail: Document


class MessageTraceSchema(Struct, forbid_unknown_fields=True):
    message: MessageSchema
    conversation_id: str
    channel_id: str
    complete: bool
    hops: list[HopSchema]


class ApiTokenSchema(Struct, forbid_unknown_fields=True):
    id: str
    name: str
    role: GrantedRole | None
    permissions: list[GrantedPermission]
    created_by: str
    created_at: str
    expires_at: str
    revoked_at: str | None


class CreatedApiTokenSchema(ApiTokenSchema, forbid_unknown_fields=True):
    token: str


class CustomSourceSchema(Struct, forbid_unknown_fields=True):
    """`token`: only in the answers that create or rotate it."""

    source_id: str
    name: str | None
    image_url: str | None
    action_endpoint: str | None
    token: str | None


class IngestedMessageSchema(Struct, forbid_unknown_fields=True):
    source_message_id: str
    message_id: str
    conversation_id: str


class IngestedSchema(Struct, forbid_unknown_fields=True):
    messages: list[IngestedMessageSchema]


class UserSchema(Struct, forbid_unknown_fields=True):
    id: str
    name: str | None
    avatar_url: str | None
    first_seen_at: str
    last_seen_at: str


class UserProfileSchema(Struct, forbid_unknown_fields=True):
    id: str
    name: str | None
    avatar_url: str | None


class ProcessComponentSchema(Struct, forbid_unknown_fields=True):
    ready: bool
    restarts: int
    lag: int | None
    rebalances: int | None


class UploadedMediaSchema(Struct, forbid_unknown_fields=True):
    media_url: str


class ProcessFoldSchema(Struct, forbid_unknown_fields=True):
    lag: int
    age_s: float
    caught_up: bool


class ProcessSchema(Struct, forbid_unknown_fields=True):
    instance: str
    url: str | None
    version: str
    started_at: str
    age_s: float
    stale: bool
    ready: bool
    waiting_for: dict[str, str]
    components: dict[str, ProcessComponentSchema]
    memory_bytes: int
    event_loop_delay_s: float
    fold: ProcessFoldSchema


class MailboxSchema(Struct, forbid_unknown_fields=True):
    used: int
    capacity: int  # 0: the actor has no mailbox


class ActorSchema(Struct, forbid_unknown_fields=True):
    path: str
    phase: str
    supervises: int  # number of children; 0: an actor
    restarts: int
    bugs: int
    error: str | None  # of the unavailable dependency, or of the latest crash
    steps: int  # progress reported since the process started
    progress_age_s: float  # at the time of the tree
    mailbox: MailboxSchema


class ProcessTreeSchema(Struct, forbid_unknown_fields=True):
    instance: str
    answering: bool  # the process that answers: its tree is of now
    at: str  # time of the tree, by the clock of its process
    age_s: float
    stale: bool  # it missed so many heartbeats that it counts as down
    omitted: int  # nodes beyond the limit; those that restarted or are not ready are kept
    actors: list[ActorSchema]  # parents before their children


class ComponentCountSchema(Struct, forbid_unknown_fields=True):
    processes: int
    ready: int


class ProcessListSchema(Struct, forbid_unknown_fields=True):
    data: list[ProcessSchema]
    components: dict[str, ComponentCountSchema]


class ClientConfigSchema(Struct, forbid_unknown_fields=True):
    services: dict[str, Service]
    user_profile: UserProfileSchema | None
    tag_config: Document
    cluster_version: str
