"""A conversation and its messages as the fold builds them. Mutable: one fold owns them at a time."""

from msgspec import Raw, Struct, field

from airy.model.delivery_state import DeliveryState
from airy.model.raw import NULL

PENDING_REPORTS_MAX = 64  # per conversation, messages with reports that are not folded yet; the oldest are dropped
REACTIONS_MAX = 64  # actors per message; the oldest reactions are dropped


class Reaction(Struct):
    emoji: str | None  # None: removed; kept so that an older event cannot restore it
    at_ms: int


class PendingReports(Struct, kw_only=True, omit_defaults=True):
    """The provider's reports about a message that has not been folded yet: receipts, edits, reactions, deletion.

    Merged into one value: each field means the same as in `Message` and is applied to the message when it is folded.
    """

    provider_id: str
    reported: DeliveryState | None = None
    failed_at_ms: int = 0
    pricing: Raw = NULL
    priced_at_ms: int = 0
    error: str = ""
    error_code: str = ""
    error_kind: str = "provider"
    content: Raw = NULL  # of the latest edit
    canonical: Raw = NULL
    revision: int = 0
    edited_at_ms: int = 0
    reactions: dict[str, Reaction] = field(default_factory=dict)
    deleted: bool = False


class Conversation(Struct, kw_only=True, omit_defaults=True):
    id: str
    channel_id: str
    source: str
    participant_id: str | None = None  # the name to answer to
    participant_at_ms: int = 0  # when it last changed
    aliases: dict[str, int] = field(default_factory=dict)  # other names of the participant, and since when
    created_at_ms: int  # the earliest message's time
    updated_at_ms: int
    sequence: int = 0  # number of accepted facts
    message_count: int = 0  # messages ever folded, deleted ones included
    unread_count: int = 0
    read_sequence: int = 0  # inbound messages up to this sequence were read by an agent
    state: str | None = None
    state_sequence: int = 0  # of the fact that last changed `state`, also to None; the version of the state
    tags: list[str] = field(default_factory=list)  # in the order they were added
    metadata: dict[str, Raw] = field(default_factory=dict)  # dotted key to JSON value; see model.metadata
    profile_keys: list[str] = field(default_factory=list)  # metadata keys whose value came from the provider's profile
    last_message_id: str | None = None  # the greatest sequence that is not deleted
    last_message_at_ms: int = 0  # when it was sent: shown and filtered by, not sorted by
    activity_at_ms: int = 0  # when the newest message arrived here, never falling: the order of lists
    window_until_ms: int | None = None
    delivered_until_ms: int = 0  # watermarks the provider reported
    read_until_ms: int = 0
    handover_owner: str | None = None
    handover_at_ms: int = 0
    referral_at_ms: int = 0
    resume_family: int = 0  # of the resume tokens that are valid; raised when one is used after it was replaced
    resume_generation: int = 0  # of the valid resume token; raised by each use
    resumed_at_ms: int = 0  # when the resume token was last replaced
    pending_reports: dict[str, PendingReports] = field(default_factory=dict, name="parked")
    # by provider id, in order of arrival

    @property
    def visible(self) -> bool:
        """Whether clients see it. Reports about messages that were never folded make a row, not a conversation, and so
        do messages of ours that wait for it.
        """
        return self.message_count > 0 and self.participant_id is not None


class Message(Struct, kw_only=True, omit_defaults=True):
    id: str
    conversation_id: str
    channel_id: str
    source: str
    sequence: int  # of the fact that created it
    content: Raw  # null once deleted
    canonical: Raw = NULL  # the content in common terms, a JSON array; null if unknown
    from_contact: bool
    sender_id: str
    sent_at_ms: int
    updated_at_ms: int
    delivery: DeliveryState
    provider_id: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Raw] = field(default_factory=dict)
    reactions: dict[str, Reaction] = field(default_factory=dict)  # by actor, in the log's order
    revision: int = 0  # the provider's count of edits; 0: not counted
    edited_at_ms: int = 0
    deleted: bool = False
    reply_to: str | None = None  # provider id
    standby: bool = False  # another app owns the thread
    # outbound messages only
    echoed: bool = False  # first folded from an echo: it was not queued here
    reported: DeliveryState | None = None  # the strongest report of the provider about this message
    failed_at_ms: int = 0  # time of the failure, if `reported` is failed
    priced_at_ms: int = 0  # time of the report whose `source.pricing` is in the metadata
    recipient_id: str | None = None
    attempt: int = 0  # raised by every attempt and resend, so that no earlier claim can become valid again
    attempt_count: int = 0  # attempts that were started
    attempt_at_ms: int = 0
    worker: str | None = None  # owner of the open attempt: one without a recorded outcome
    retry_at_ms: int = 0
    expires_at_ms: int | None = None

    @property
    def announced(self) -> bool:
        """Whether subscribers know of it: a deferred message is announced when it gets a channel, or fails."""
        return self.channel_id != "" or self.delivery is DeliveryState.FAILED or self.attempt > 0

    @property
    def dispatched_at_ms(self) -> int:
        """Time of the last attempt, or of the echo; compared with a provider's watermark."""
        return self.attempt_at_ms or self.sent_at_ms
