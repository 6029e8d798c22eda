"""A conversation and its messages as the fold builds them. Mutable: one fold owns them at a time."""

from msgspec import Raw, Struct, field

from airy.model.delivery import Delivery
from airy.model.raw import NULL

PARKED_MAX = 64  # messages per conversation whose news came before they did; the oldest are dropped beyond
REACTIONS_MAX = 64  # actors per message; the oldest reactions are dropped beyond


class Reaction(Struct):
    emoji: str | None  # None: taken back; kept so that an older event cannot revive it
    at_ms: int


class Parked(Struct, kw_only=True, omit_defaults=True):
    """What the provider said about a message that has not been folded yet: receipts, edits, reactions, its
    deletion.

    Summed up rather than listed: the fields mean what they mean in `Message`, and join it when it arrives.
    """

    provider_id: str
    reported: Delivery | None = None
    failed_at_ms: int = 0
    error: str = ""
    error_code: str = ""
    content: Raw = NULL  # of the edit
    revision: int = 0
    edited_at_ms: int = 0
    reactions: dict[str, Reaction] = field(default_factory=dict)
    deleted: bool = False


class Conversation(Struct, kw_only=True, omit_defaults=True):
    id: str
    channel_id: str
    source: str
    participant_id: str | None = None
    created_at_ms: int  # the earliest message's time
    updated_at_ms: int
    sequence: int = 0  # how many facts were accepted
    message_count: int = 0  # messages ever folded, deleted ones too
    unread_count: int = 0
    read_sequence: int = 0  # inbound messages up to here were read by an agent
    state: str | None = None
    tags: list[str] = field(default_factory=list)  # in the order they were added
    metadata: dict[str, Raw] = field(default_factory=dict)  # dotted key to JSON value; see model.metadata
    profile_keys: list[str] = field(default_factory=list)  # metadata keys whose value is the provider's word
    last_message_id: str | None = None  # greatest sent_at; ties go to the later fold
    last_message_at_ms: int = 0
    window_until_ms: int | None = None
    delivered_until_ms: int = 0  # watermarks the provider reported
    read_until_ms: int = 0
    handover_owner: str | None = None
    handover_at_ms: int = 0
    referral_at_ms: int = 0
    parked: dict[str, Parked] = field(default_factory=dict)  # by provider id, in order of arrival

    @property
    def visible(self) -> bool:
        """Whether anybody is shown it: news about messages we never saw makes a row, not a conversation."""
        return self.message_count > 0


class Message(Struct, kw_only=True, omit_defaults=True):
    id: str
    conversation_id: str
    channel_id: str
    source: str
    sequence: int  # of the fact that created it
    content: Raw  # null once deleted
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
    edited_at_ms: int = 0
    deleted: bool = False
    reply_to: str | None = None  # provider id
    standby: bool = False  # another app owns the thread
    # ours only
    echoed: bool = False  # first seen in an echo: nobody here queued it
    reported: Delivery | None = None  # the strongest thing the provider said about this very message
    failed_at_ms: int = 0  # when it reported a failure, if that is what it said
    recipient_id: str | None = None
    attempt: int = 0  # grows with every attempt and resend: no earlier claim can become valid again
    attempt_count: int = 0  # attempts that were started
    attempt_at_ms: int = 0
    worker: str | None = None  # whose attempt is open: no outcome of it was recorded
    retry_at_ms: int = 0
    expires_at_ms: int | None = None

    @property
    def out_at_ms(self) -> int:
        """When it left us, for comparing with a provider's watermark: the last attempt, or the time of its
        echo.
        """
        return self.attempt_at_ms or self.sent_at_ms
