"""Facts: what happened to a conversation, appended to the log by whoever saw it.

A fact's `id` is a pure function of its cause, so the same cause told twice is one fact. Facts never carry
state, only news; the fold alone turns them into state. Schemas only grow: new fields have defaults, nothing
is renamed or retyped.
"""

from typing import Literal

from msgspec import Raw, Struct

from airy.model.delivery import Delivery
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
    at_ms: int  # when the cause happened, by the clock of whoever saw it: data, never order
    cause: str = ""  # request id or record position, for tracing


class MessageReceived(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="message.received"):
    """A contact wrote. `at_ms` is the provider's time."""

    message_id: str
    participant_id: str
    content: Raw  # the provider's own event, JSON
    provider_id: str | None = None
    headers: dict[str, str] = {}
    window_until_ms: int | None = None  # until when the provider lets us answer freely
    reply_to: str | None = None  # provider id
    standby: bool = False  # another app owns the thread: bots stay silent


class MessageEchoed(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="message.echoed"):
    """The provider shows us a message sent from our side: our own (`our_message_id`) or somebody else's."""

    message_id: str  # the id it gets if it is not one of ours
    participant_id: str  # the contact it went to
    sender_id: str  # who wrote it, e.g. "facebook:inbox"
    provider_id: str
    content: Raw
    our_message_id: str | None = None
    headers: dict[str, str] = {}


class MessageQueued(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="message.queued"):
    """Somebody on our side wants to say something."""

    message_id: str
    sender_id: str
    content: Raw
    recipient_id: str | None = None  # participant at the provider; None: the conversation's
    expires_at_ms: int | None = None  # still pending then: failed with kind "expired"


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


class SendStarted(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="send.started"):
    """The intent of attempt number `attempt`. The log decides between rivals: only the first is accepted."""

    message_id: str
    attempt: int
    worker: str  # who may call the provider if this is accepted


class SendSucceeded(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="send.succeeded"):
    message_id: str
    attempt: int
    provider_id: str | None = None


class SendFailed(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="send.failed"):
    """A recorded failure: the provider did not take it. With `retry_at_ms` it may be tried again from then
    on.
    """

    message_id: str
    attempt: int
    error_kind: ErrorKind
    error: str  # for a human
    error_code: str = ""
    detail: Raw = NULL  # the provider's answer, JSON
    retry_at_ms: int | None = None


class SendUnknown(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="send.unknown"):
    """The provider was called and nobody knows whether it took the message."""

    message_id: str
    attempt: int
    reason: str


class ReceiptReported(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="receipt.reported"):
    """`provider_ids`, or all our messages sent up to `watermark_ms`, reached `state`."""

    state: Delivery  # sent, delivered, read or failed
    provider_ids: tuple[str, ...] = ()
    watermark_ms: int | None = None
    error: str = ""
    error_code: str = ""


class MessageEdited(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="message.edited"):
    provider_id: str
    content: Raw
    revision: int  # the provider's count of edits: forward only


class MessageDeleted(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="message.deleted"):
    provider_id: str


class ReactionChanged(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="reaction.changed"):
    """`emoji` None takes the reaction back. A reaction older than the actor's last one on that message
    changes nothing.
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
    """What the provider says about the contact; `found` False means it says nothing. Never overwrites what a
    person set.
    """

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
    """Somebody wants the provider to be asked again."""


class ConversationRead(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="conversation.read"):
    reader: str


class TagAdded(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="tag.added"):
    tag_id: str


class TagRemoved(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="tag.removed"):
    tag_id: str


class StateChanged(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="state.changed"):
    """Any word; by convention OPEN or CLOSED. None removes it."""

    state: str | None = None


class HandoverChanged(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="handover.changed"):
    """Another app took or gave the thread. `owner` is its provider-side id, None where the provider does not
    say.
    """

    action: str  # pass, take, request or roles
    owner: str | None = None
    content: Raw = NULL


class EventNoted(FactBase, frozen=True, kw_only=True, omit_defaults=True, tag="event.noted"):
    """Anything else a provider told us about this conversation: referral, opt-in, account, unsupported. Kept,
    with its kind.
    """

    kind_at_source: str
    content: Raw
    referral: str | None = None  # for conversation metadata `source.referral`


Fact = (
    MessageReceived
    | MessageEchoed
    | MessageQueued
    | ResendRequested
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
    | EventNoted
)
