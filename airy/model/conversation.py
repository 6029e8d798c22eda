"""A conversation and its messages as the fold builds them. Mutable on purpose: one fold owns them at a time."""

from msgspec import Raw, Struct, field

from airy.model.delivery import Delivery

PARKED_RECEIPTS_MAX = 64  # receipts per conversation that wait for their message; the oldest are dropped beyond


class Reaction(Struct):
    emoji: str | None  # None: taken back; kept so that an older event cannot revive it
    at_ms: int


class ParkedReceipt(Struct):
    """A receipt, edit, deletion or reaction whose message has not been folded yet."""

    provider_id: str
    state: Delivery
    at_ms: int
    error: str = ""
    error_code: str = ""


class Conversation(Struct, kw_only=True, omit_defaults=True):
    id: str
    channel_id: str
    source: str
    participant_id: str | None = None
    created_at_ms: int  # the first message's time
    updated_at_ms: int
    sequence: int = 0  # how many facts were accepted
    unread_count: int = 0
    read_sequence: int = 0  # inbound messages up to here were read by an agent
    state: str | None = None
    tags: list[str] = field(default_factory=list)  # in the order they were added
    metadata: dict[str, Raw] = field(default_factory=dict)  # dotted key to JSON value; see model.metadata
    last_message_id: str | None = None  # greatest sent_at; ties go to the later fold
    last_message_at_ms: int = 0
    window_until_ms: int | None = None
    delivered_until_ms: int = 0  # watermarks the provider reported
    read_until_ms: int = 0
    handover_owner: str | None = None
    parked: list[ParkedReceipt] = field(default_factory=list)


class Message(Struct, kw_only=True, omit_defaults=True):
    id: str
    conversation_id: str
    channel_id: str
    source: str
    sequence: int  # of the fact that created it
    content: Raw
    from_contact: bool
    sender_id: str
    sent_at_ms: int
    updated_at_ms: int
    delivery: Delivery
    provider_id: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Raw] = field(default_factory=dict)
    reactions: dict[str, Reaction] = field(default_factory=dict)
    revision: int = 0
    deleted: bool = False
    # ours only
    recipient_id: str | None = None
    attempt: int = 0
    attempt_at_ms: int = 0
    worker: str | None = None  # whose attempt is the open one
    retry_at_ms: int = 0
    expires_at_ms: int | None = None
