"""What a provider says about one message, in a form that does not care for order.

Reports, edits, reactions and deletions arrive late, twice and before their message. Each is a maximum over
something the provider orders itself (strength, revision, time), so any order comes to the same; what comes
before its message is summed up in `Parked` by the same comparisons and joined when the message appears.
"""

from msgspec import Raw

from airy.model import metadata
from airy.model.conversation import PARKED_MAX, REACTIONS_MAX, Conversation, Message, Parked, Reaction
from airy.model.delivery import STRENGTH, Delivery, may_move
from airy.model.raw import NULL, given
from airy.model.step import Step

ERROR = "error"
SOURCE_ERROR = "source.error"
ERROR_CODE = "source.error_code"
ERROR_KIND = "source.error_kind"
ATTEMPTS = "source.attempts"
UNKNOWN_REASON = "source.unknown_reason"
TROUBLE = (ERROR, SOURCE_ERROR, ERROR_CODE, ERROR_KIND, ATTEMPTS, UNKNOWN_REASON)
"""Metadata of sends that went wrong."""

_SETTLED = {Delivery.SENT: 1, Delivery.DELIVERED: 2, Delivery.READ: 3}


# --- delivery


def move(message: Message, to: Delivery) -> None:
    assert may_move(message.delivery, to), f"{message.delivery} to {to} is not in the table"
    message.delivery = to
    for key in TROUBLE:
        message.metadata.pop(key, None)


def advance(message: Message, to: Delivery) -> None:
    """Move to sent, delivered or read unless the message is there or further already."""
    if _SETTLED.get(message.delivery, 0) < _SETTLED[to]:
        move(message, to)


def fail(message: Message, *, kind: str, error: str, code: str = "", detail: Raw = NULL) -> None:
    if message.delivery is not Delivery.FAILED:
        move(message, Delivery.FAILED)
    found = {ERROR: metadata.value(error), ERROR_KIND: metadata.value(kind)}
    if code:
        found[ERROR_CODE] = metadata.value(code)
    if (answer := given(detail)) is not None:
        found[SOURCE_ERROR] = answer
    if message.attempt_count:
        found[ATTEMPTS] = metadata.value(message.attempt_count)
    for key in TROUBLE:
        message.metadata.pop(key, None)
    for key, content in found.items():
        metadata.put(message.metadata, key, content)


def report(step: Step, message: Message, said: Parked) -> bool:
    """The provider's word about this very message; False if it said as much or more before."""
    if message.from_contact or not _stronger(said, message):
        return False
    step.touch(message)
    message.reported, message.failed_at_ms = said.reported, said.failed_at_ms
    if said.reported is Delivery.FAILED:
        error = said.error or "the provider could not deliver it"
        fail(message, kind="provider", error=error, code=said.error_code)
    elif said.reported is not None:
        advance(message, said.reported)
        settle_by_watermark(message, step.conversation)
    return True


def _stronger(said: Parked, than: Message | Parked) -> bool:
    """Of two failures the later one is worth reading."""
    return (STRENGTH[said.reported], said.failed_at_ms) > (STRENGTH[than.reported], than.failed_at_ms)


def settle_by_watermark(message: Message, conversation: Conversation) -> None:
    """Apply what the provider said about everything up to a time; the caller has touched the message.

    It is compared with our clock's time of the last attempt, which precedes the provider's own time of the
    message. The claim of a watermark is weak evidence for an attempt that is `unknown`, and the best there is.
    """
    to = watermarked(message, conversation)
    if to is not None:
        advance(message, to)


def watermarked(message: Message, conversation: Conversation) -> Delivery | None:
    """Where the watermarks take a message: one that may have arrived, not one that waits or failed."""
    if message.from_contact or message.delivery not in {Delivery.UNKNOWN, Delivery.SENT, Delivery.DELIVERED}:
        return None
    if 0 < message.out_at_ms <= conversation.read_until_ms:
        return Delivery.READ
    if message.delivery is not Delivery.DELIVERED and 0 < message.out_at_ms <= conversation.delivered_until_ms:
        return Delivery.DELIVERED
    return None


# --- contents


def edit(target: Message | Parked, content: Raw, revision: int, at_ms: int) -> bool:
    """Forward only; equal revisions are ordered by time, then by content: everybody picks the same."""
    if target.deleted:
        return False
    now = (target.revision, target.edited_at_ms, bytes(target.content))
    if (revision, at_ms, bytes(content)) <= now:
        return False
    target.content, target.revision, target.edited_at_ms = content, revision, at_ms
    return True


def react(target: Message | Parked, actor: str, reaction: Reaction) -> bool:
    current = target.reactions.get(actor)
    if target.deleted or (current is not None and _moment(reaction) <= _moment(current)):
        return False
    target.reactions[actor] = reaction
    if len(target.reactions) > REACTIONS_MAX:
        oldest = min(target.reactions, key=lambda name: (target.reactions[name].at_ms, name))
        del target.reactions[oldest]
    return True


def _moment(reaction: Reaction) -> tuple[int, str]:
    return reaction.at_ms, reaction.emoji or ""


def erase(target: Message | Parked) -> bool:
    """Mark as deleted and forget what it said: what a contact took back is not kept in the read model."""
    if target.deleted:
        return False
    target.deleted = True
    target.content = NULL
    target.reactions = {}
    target.revision = target.edited_at_ms = 0
    if isinstance(target, Message):
        target.headers = {}
    return True


# --- before the message


def parked(conversation: Conversation, provider_id: str) -> Parked:
    """What was said so far about a message that is not there. Not kept before `park`."""
    return conversation.parked.get(provider_id) or Parked(provider_id=provider_id)


def park(conversation: Conversation, entry: Parked) -> None:
    conversation.parked[entry.provider_id] = entry
    if len(conversation.parked) > PARKED_MAX:
        del conversation.parked[next(iter(conversation.parked))]


def park_report(entry: Parked, said: Parked) -> bool:
    if not _stronger(said, entry):
        return False
    entry.reported, entry.failed_at_ms = said.reported, said.failed_at_ms
    entry.error, entry.error_code = said.error, said.error_code
    return True


def join(step: Step, message: Message, entry: Parked) -> None:
    """Add what was said before the message was known by its provider id; the caller has touched it, or
    creates it.
    """
    if entry.deleted:
        if erase(message) and message is not step.created:
            step.delete(message)
    else:
        for actor, reaction in entry.reactions.items():
            react(message, actor, reaction)
        if entry.revision or entry.edited_at_ms:
            edit(message, entry.content, entry.revision, entry.edited_at_ms)
    report(step, message, entry)


def bind(step: Step, message: Message, provider_id: str | None) -> bool:
    """Tie a message of ours to the provider's id for it; the caller has touched it. The first id stays."""
    if provider_id is None or message.provider_id is not None:
        return False
    holder = step.state.message_by_provider_id(provider_id)
    if holder is not None and not holder.echoed:
        return False
    if holder is not None:
        _absorb(step, message, holder)
    message.provider_id = provider_id
    entry = step.conversation.parked.pop(provider_id, None)
    if entry is not None:
        join(step, message, entry)
    return True


def _absorb(step: Step, message: Message, copy: Message) -> None:
    """An echo that did not say whose it was made a copy of a message of ours: ours takes over what was said
    about it.
    """
    edited = copy.revision > 0 or copy.edited_at_ms > 0
    said = Parked(
        provider_id=copy.provider_id or "",
        reported=copy.reported,
        failed_at_ms=copy.failed_at_ms,
        error=metadata.text(copy.metadata, ERROR) or "",
        error_code=metadata.text(copy.metadata, ERROR_CODE) or "",
        content=copy.content if edited else NULL,
        revision=copy.revision,
        edited_at_ms=copy.edited_at_ms,
        reactions=copy.reactions,
        deleted=copy.deleted,
    )
    step.touch(copy)
    copy.provider_id = None
    if erase(copy):
        step.delete(copy)
    step.state.put_message(copy)  # before ours is put with the same provider id
    join(step, message, said)
