"""The shapes of answers, for the API's description only; tests hold every answer against them.

Answers are built by `airy.model.render`, once for HTTP, webhooks and the websocket. These say what that
comes to.
"""

from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct

from airy.components import Service
from airy.http.problems import Fault
from airy.model.entity import Color, WebhookStatus

T = TypeVar("T")

Document = dict[str, Any]


class Problem(Struct, forbid_unknown_fields=True):
    message: str
    code: str
    fields: list[Fault]


class Data(Struct, Generic[T], forbid_unknown_fields=True):
    data: list[T]


class Pagination(Struct, forbid_unknown_fields=True):
    previous_cursor: str | None
    next_cursor: str | None
    total: int
    complete: bool = True


class Page(Struct, Generic[T], forbid_unknown_fields=True):
    data: list[T]
    pagination_data: Pagination


class Sender(Struct, forbid_unknown_fields=True):
    id: str
    name: str | None
    avatar_url: str | None


class Message(Struct, forbid_unknown_fields=True):
    id: str
    content: Any
    sent_at: str
    delivery_state: Literal["pending", "failed", "delivered"]
    from_contact: bool
    source: str
    metadata: Document
    sender: Sender


class Channel(Struct, forbid_unknown_fields=True):
    id: str
    source: str
    source_channel_id: str
    connected: bool
    metadata: Document


class Conversation(Struct, forbid_unknown_fields=True):
    id: str
    created_at: str
    channel: Channel
    metadata: Document
    last_message: Message | None


class Tag(Struct, forbid_unknown_fields=True):
    id: str
    name: str
    color: Color


class Template(Struct, forbid_unknown_fields=True):
    id: str
    name: str
    source: str
    content: Any


class Webhook(Struct, forbid_unknown_fields=True):
    id: str
    name: str | None
    status: WebhookStatus
    url: str
    headers: dict[str, str]
    events: list[str]


class SignedWebhook(Struct, forbid_unknown_fields=True):
    id: str
    name: str | None
    status: WebhookStatus
    url: str
    headers: dict[str, str]
    events: list[str]
    signing_secret: str


class DeadLetter(Struct, forbid_unknown_fields=True):
    delivery_id: str
    webhook_id: str
    event_id: str
    event: str
    lane: str
    attempts: int
    reason: str
    died_at: str
    body: Document


class Replayed(Struct, forbid_unknown_fields=True):
    replayed: int


class FacebookPage(Struct, forbid_unknown_fields=True):
    page_id: str
    name: str
    image_url: str | None
    connected: bool


class ProcessComponent(Struct, forbid_unknown_fields=True):
    ready: bool
    restarts: int
    lag: int | None
    rebalances: int | None


class ProcessFold(Struct, forbid_unknown_fields=True):
    lag: int
    age_s: float
    caught_up: bool


class Process(Struct, forbid_unknown_fields=True):
    instance: str
    url: str | None
    version: str
    started_at: str
    age_s: float
    silent: bool
    ready: bool
    waiting_for: dict[str, str]
    components: dict[str, ProcessComponent]
    memory_bytes: int
    event_loop_delay_s: float
    fold: ProcessFold


class Share(Struct, forbid_unknown_fields=True):
    processes: int
    ready: int


class Fleet(Struct, forbid_unknown_fields=True):
    data: list[Process]
    components: dict[str, Share]


class Config(Struct, forbid_unknown_fields=True):
    services: dict[str, Service]
    user_profile: Document | None
    tag_config: Document
    cluster_version: str
