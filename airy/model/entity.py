"""Entities: small objects with an id. Every write is a record with the whole entity; the latest accepted one is its
state (`airy.model.fold_entity`). `updated_at_ms` is the time of the write in ms and the version of the entity; 0: that
of its record.

Secret fields hold sealed text; `airy.model` never handles clear text. A tombstone deletes the entity.
"""

from typing import Literal

from msgspec import Raw, Struct

from airy.permissions import GrantedPermission, GrantedRole

Color = Literal["tag-red", "tag-green", "tag-blue", "tag-purple"]
WebhookStatus = Literal["Subscribed", "Unsubscribed"]


class PreviousSecret(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What verified a channel's webhooks before its credentials were replaced, and does so until then as well."""

    sealed: str | None = None  # None: the configured secrets did
    until_ms: int


class Channel(Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    source: str
    source_channel_id: str
    connected: bool
    token: str | None = None  # sealed
    secrets: dict[str, str] = {}  # further credentials by name, each sealed
    previous_secret: PreviousSecret | None = None
    metadata: dict[str, Raw] = {}  # dotted key to JSON value
    updated_at_ms: int = 0


class Tag(Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    name: str
    color: Color
    updated_at_ms: int = 0


class Template(Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    name: str
    source: str
    content: Raw
    updated_at_ms: int = 0


class UserSession(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A login of a user. Only the hash of its token is known; `airy.model.session` has the format."""

    id: str
    sha256: str  # of the token, in hexadecimal
    created_at_ms: int
    expires_at_ms: int
    revoked_at_ms: int | None = None


class User(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person with a session. `id` is `<provider>:<id at the provider>` in lower case."""

    id: str
    name: str | None = None
    avatar_url: str | None = None
    email: str | None = None  # verified by the provider
    sessions: tuple[UserSession, ...] = ()  # oldest first
    first_seen_at_ms: int = 0
    last_seen_at_ms: int = 0
    updated_at_ms: int = 0


class ApiToken(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A token that a caller created through the API. Only its hash is known; `airy.model.api_token` has the format."""

    id: str
    name: str
    sha256: str  # of the token, in hexadecimal
    role: GrantedRole | None = None
    permissions: tuple[GrantedPermission, ...] = ()  # a part of the role's, or of all if there is no role; empty: all
    created_by: str = ""  # id of the caller
    created_at_ms: int = 0
    expires_at_ms: int
    revoked_at_ms: int | None = None
    updated_at_ms: int = 0


class CustomSource(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A program outside of Airy that is the source of channels: their `source` is its id, any line of text."""

    id: str
    name: str | None = None
    image_url: str | None = None
    action_endpoint: str | None = None  # where its outbound messages are posted; None: nowhere
    tokens: tuple[str, ...] = ()  # sealed, newest first; two during rotation
    creation_id: str = ""  # of the request that made it, for its repetitions
    created_at_ms: int = 0
    updated_at_ms: int = 0


class Webhook(Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    url: str
    status: WebhookStatus
    name: str | None = None
    events: tuple[str, ...] = ()  # empty: all
    headers: str | None = None  # sealed JSON object, because values may be secrets
    signature_key: str | None = None  # sealed; for X-Airy-Content-Signature
    secrets: tuple[str, ...] = ()  # sealed whsec_ secrets, newest first; two during rotation
    subscribed_at_ms: int = 0
    since: dict[str, tuple[int, ...]] = {}  # topic to the end offset of each partition at subscription
    disabled_reason: str | None = None
    updated_at_ms: int = 0
