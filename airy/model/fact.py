"""Facts: events of a conversation, appended to the log by the actor that observed them.

A fact's `id` is a pure function of its cause, so a cause reported twice is one fact. A fact carries an event, never
state; the fold alone turns facts into state. Schemas only grow: new fields have defaults, nothing is renamed or
retyped.
"""

from typing import Literal, get_args

from msgspec import Raw, Struct

from airy.model.delivery_state import DeliveryState
from airy.model.raw import NULL

Subject = Literal["conversation", "message"]
ErrorKind = Literal[
    "window",
    "blocked",
    "not_found",
    "invalid",
    "auth",
    "rate",
    "provider",
    "expired",
    "unknown",
]


class FactBase(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    id: str
    conversation_id: str
    channel_id: str
    source: str
    at_ms: int  # time of the cause, by the clock of the observer: data, never order
    cause: str = ""  # request id or record position, for tracing


class MessageReceived(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="message.received"):
    """A contact wrote a message. `at_ms` is the provider's time."""

    message_id: str
    participant_id: str
    content: Raw  # the provider's own event, JSON
    canonical: Raw = NULL  # the same in common terms: a JSON array, see airy.sources.canonical
    sender_id: str | None = None  # where it is not the participant: the author of a message in a group
    provider_id: str | None = None
    headers: dict[str, str] = {}
    window_until_ms: int | None = None  # end of the messaging window
    reply_to: str | None = None  # provider id
    standby: bool = False  # another app owns the thread: bots do not reply
    arrived_at_ms: int | None = None  # when the webhook arrived, by our clock; None: at `at_ms`


class MessageEchoed(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="message.echoed"):
    """The provider reports an outbound message: one sent by Airy (`our_message_id`) or by another app."""

    message_id: str  # id of the new message, if Airy did not send it
    participant_id: str  # the recipient
    sender_id: str  # the author, e.g. "telegram:owner"
    provider_id: str
    content: Raw
    canonical: Raw = NULL
    our_message_id: str | None = None
    headers: dict[str, str] = {}
    arrived_at_ms: int | None = None  # as in `MessageReceived`


class MessageQueued(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="message.queued"):
    """A client of the API asks for a message to be sent."""

    message_id: str
    sender_id: str
    content: Raw
    canonical: Raw = NULL  # if the caller wrote it in common terms
    recipient_id: str | None = None  # participant at the provider; None: the conversation's
    expires_at_ms: int | None = None  # a message still pending then fails with kind "expired"


class MessageDeferred(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="message.deferred"):
    """A client asks for a message to be sent in a conversation that is not known yet: its channel is empty.

    The message waits, unannounced, until a contact's message begins the conversation; `MessageQueued` with the same
    message id then gives it a channel. At `waits_until_ms` the wait is over, and the message fails.
    """

    message_id: str
    sender_id: str
    content: Raw
    canonical: Raw = NULL  # as in `MessageQueued`
    recipient_id: str | None = None
    waits_until_ms: int
    expires_at_ms: int  # of the message, if the conversation has begun before this fact


class ResendRequested(
    FactBase,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag="message.resend_requested",
):
    """Accepted only while the message is failed."""

    message_id: str
    expires_at_ms: int | None = None


class CancelRequested(
    FactBase,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag="message.cancel_requested",
):
    """Accepted only while the message is pending. Of a cancellation and a claim, the first in the log is accepted."""

    message_id: str


class SendStarted(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="send.started"):
    """Claims attempt number `attempt`. Of competing claims, the first in the log is accepted."""

    message_id: str
    attempt: int
    worker: str  # the worker that may call the provider if the claim is accepted


class SendSucceeded(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="send.succeeded"):
    message_id: str
    attempt: int
    provider_id: str | None = None


class SendFailed(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="send.failed"):
    """A recorded failure: the provider did not accept the message. It may be retried from `retry_at_ms` on, if set."""

    message_id: str
    attempt: int
    error_kind: ErrorKind
    error: str  # for a human
    error_code: str = ""
    detail: Raw = NULL  # the provider's response, JSON
    retry_at_ms: int | None = None


class SendUnknown(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="send.unknown"):
    """The provider was called, and whether it accepted the message is not known."""

    message_id: str
    attempt: int
    reason: str


class ReceiptReported(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="receipt.reported"):
    """`provider_ids`, or all outbound messages sent up to `watermark_ms`, reached `state`."""

    state: DeliveryState  # sent, delivered, read or failed
    provider_ids: tuple[str, ...] = ()
    watermark_ms: int | None = None
    watermark_written: str = ""  # by the provider, where it was ahead and `watermark_ms` is a bound of ours
    error: str = ""
    error_code: str = ""
    error_kind: ErrorKind = "provider"
    our_message_id: str | None = None  # where the provider repeats it: settles a send whose response was lost
    our_attempt: int = 0  # the message's attempt number when that call was encoded
    pricing: Raw = NULL  # what the message costs, as the provider says


class MessageEdited(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="message.edited"):
    provider_id: str
    content: Raw
    revision: int  # the provider's edit count: forward only; 0: not counted, the time decides
    canonical: Raw = NULL


class MessageDeleted(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="message.deleted"):
    provider_id: str


class ReactionChanged(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="reaction.changed"):
    """`emoji` None removes the reaction. One older than the actor's last one on the message is rejected; of two at one
    time the later in the log is kept.
    """

    provider_id: str
    actor: str
    emoji: str | None = None


class MetadataChanged(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="metadata.changed"):
    """Dotted keys to JSON values to set, and keys to remove (with everything below them)."""

    subject: Subject
    subject_id: str
    set: dict[str, Raw] = {}
    remove: tuple[str, ...] = ()


class ProfileResolved(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="profile.resolved"):
    """The contact's profile at the provider; `found` False: it has none. Never overwrites a value a client set."""

    found: bool
    display_name: str | None = None
    avatar_url: str | None = None


class ProfileRefetchRequested(
    FactBase,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag="profile.refetch_requested",
):
    """A client asks for the profile to be fetched again."""


class ConversationRead(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="conversation.read"):
    reader: str


class TagAdded(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="tag.added"):
    tag_id: str


class TagRemoved(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="tag.removed"):
    tag_id: str


class StateChanged(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="state.changed"):
    """Any text; by convention OPEN or CLOSED. None removes the state.

    `base`: the `state_sequence` of the conversation that the caller read; the fact is rejected at another one.
    """

    state: str | None = None
    base: int | None = None


class HandoverChanged(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="handover.changed"):
    """The thread changed between apps. `owner` is the app's id at the provider, None where the provider omits it."""

    action: str  # pass, take, request or roles
    owner: str | None = None
    content: Raw = NULL


class IdentityChanged(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="identity.changed"):
    """The provider knows the participant by `aliases` too: what happens under these names belongs to this conversation.

    `participant_id`: the name to answer to from now on. `same_contact`: another conversation of the same contact, which
    had begun before this was known; the two stay apart.
    """

    aliases: tuple[str, ...] = ()
    participant_id: str | None = None
    same_contact: str | None = None


class EventNoted(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="event.noted"):
    """Any other provider event of the conversation: referral, opt-in, account, unsupported. Kept with its kind."""

    kind_at_source: str
    content: Raw
    referral: str | None = None  # for conversation metadata `source.referral`


class ResumeTokenUsed(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="resume_token.used"):
    """A visitor resumed the conversation. The token of the next generation replaces the one that was used."""

    family: int
    generation: int


class ResumeTokensRevoked(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="resume_tokens.revoked"):
    """A replaced resume token was used again: every token of its family ends, and those of visits it began."""

    family: int


Fact = (
    MessageReceived
    | MessageEchoed
    | MessageQueued
    | MessageDeferred
    | ResendRequested
    | CancelRequested
    | SendStarted
    | SendSucceeded
    | SendFailed
    | SendUnknown
    | ReceiptReported
    | MessageEdited
    | MessageDeleted
    | ReactionChanged
    | MetadataChanged
    | ProfileResolved
    | ProfileRefetchRequested
    | ConversationRead
    | TagAdded
    | TagRemoved
    | StateChanged
    | HandoverChanged
    | IdentityChanged
    | EventNoted
    | ResumeTokenUsed
    | ResumeTokensRevoked
)

_SECOND = frozenset(  # since the log orders messages, and what the provider gave one time
    {
        MessageReceived,
        MessageEchoed,
        MessageQueued,
        MessageEdited,
        MessageDeleted,
        ReceiptReported,
        ReactionChanged,
        SendFailed,  # since a message that waits for another attempt shows why
        HandoverChanged,
        EventNoted,
        StateChanged,  # since its sequence is the version of the state
    }
)
KINDS: dict[type, tuple[str, int]] = {
    kind: (str(kind.__struct_config__.tag), 2 if kind in _SECOND else 1) for kind in get_args(Fact)
}
"""By type: the kind, and its version. Raise a version with every change of a fact or its rule
that older processes would fold to another state: they then hold the partition. A field they may ignore needs none.
"""
