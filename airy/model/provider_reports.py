"""A provider's reports about one message, applied so that their order does not matter.

Receipts, edits, reactions and deletions arrive late, twice and before their message. Each is a maximum over a value
that the provider orders itself (strength, revision, time), so every order gives the same result; only what the provider
itself does not order falls to the log's order. Reports that arrive before their message are merged into
`PendingReports` by the same comparisons, and applied when the message is folded.
"""

from msgspec import Raw

from airy.model import metadata
from airy.model.conversation import PENDING_REPORTS_MAX, REACTIONS_MAX, Conversation, Message, PendingReports, Reaction
from airy.model.delivery_state import REPORT_STRENGTH, WATERMARK_STATES, DeliveryState, may_transition
from airy.model.fold_context import FoldContext
from airy.model.raw import NULL, none_if_null
from airy.model.render import timestamp

ERROR = "error"
SOURCE_ERROR = "source.error"
ERROR_CODE = "source.error_code"
ERROR_KIND = "source.error_kind"
ATTEMPTS = "source.attempts"
NEXT_ATTEMPT_AT = "source.next_attempt_at"
UNKNOWN_REASON = "source.unknown_reason"
PRICING = "source.pricing"
SEND_ERROR_KEYS = (ERROR, SOURCE_ERROR, ERROR_CODE, ERROR_KIND, ATTEMPTS, NEXT_ATTEMPT_AT, UNKNOWN_REASON)
"""Metadata keys that describe a failed attempt, or an unknown send."""

_SETTLED = {DeliveryState.SENT: 1, DeliveryState.DELIVERED: 2, DeliveryState.READ: 3}


# --- delivery state


def transition(message: Message, to: DeliveryState) -> None:
    """The error of the last attempt stays while the next one is made, so that a claim changes nothing clients see."""
    assert may_transition(message.delivery, to), f"{message.delivery} to {to} is not in the table"
    message.delivery = to
    if to is not DeliveryState.SENDING:
        _remove_error(message)


def _remove_error(message: Message) -> None:
    for key in SEND_ERROR_KEYS:
        message.metadata.pop(key, None)


def advance(message: Message, to: DeliveryState) -> None:
    """Move to sent, delivered or read, unless the message is in that state or a later one."""
    if _SETTLED.get(message.delivery, 0) < _SETTLED[to]:
        transition(message, to)


def fail(message: Message, *, kind: str, error: str, code: str = "", detail: Raw = NULL) -> None:
    if message.delivery is not DeliveryState.FAILED:
        transition(message, DeliveryState.FAILED)
    put_error(message, kind=kind, error=error, code=code, detail=detail)


def put_error(message: Message, *, kind: str, error: str, code: str = "", detail: Raw = NULL) -> None:
    """Set the error of the last attempt; of a pending message also when the next attempt is due."""
    _remove_error(message)
    settings = {ERROR: metadata.value(error), ERROR_KIND: metadata.value(kind)}
    if code:
        settings[ERROR_CODE] = metadata.value(code)
    if (response := none_if_null(detail)) is not None:
        settings[SOURCE_ERROR] = response
    if message.attempt_count:
        settings[ATTEMPTS] = metadata.value(message.attempt_count)
    if message.delivery is DeliveryState.PENDING:
        settings[NEXT_ATTEMPT_AT] = metadata.value(timestamp(message.retry_at_ms))
    for key, content in settings.items():
        metadata.put(message.metadata, key, content)


def with_last_error(text: str, message: Message) -> str:
    """`text`, and why the last attempt of a pending message failed, if it has had one."""
    error = metadata.text(message.metadata, ERROR)
    return f"{text}; the last attempt failed: {error}" if error else text


def apply_report(context: FoldContext, message: Message, receipt: PendingReports) -> bool:
    """Apply a receipt for this message. False if an equal or stronger one was applied before, with the same price."""
    stronger, priced = _stronger(receipt, message), _priced_later(receipt, message)
    if message.from_contact or not (stronger or priced):
        return False
    context.before_change(message)
    if priced:
        message.priced_at_ms = receipt.priced_at_ms
        metadata.put(message.metadata, PRICING, receipt.pricing)
    if not stronger:
        return True
    message.reported, message.failed_at_ms = receipt.reported, receipt.failed_at_ms
    if receipt.reported is DeliveryState.FAILED:
        error = receipt.error or "the provider could not deliver it"
        fail(message, kind=receipt.error_kind, error=error, code=receipt.error_code)
    elif receipt.reported is not None:
        advance(message, receipt.reported)
        apply_watermark(message, context.conversation)
    return True


def _priced_later(receipt: PendingReports, current: Message | PendingReports) -> bool:
    """By the provider's time; of two prices at one time the greater text is kept, whichever came first."""
    if none_if_null(receipt.pricing) is None:
        return False
    known = _pricing(current) if isinstance(current, Message) else current.pricing
    return (receipt.priced_at_ms, bytes(receipt.pricing)) > (current.priced_at_ms, bytes(known))


def _pricing(message: Message) -> Raw:
    return message.metadata.get(PRICING, NULL)


def _stronger(receipt: PendingReports, current: Message | PendingReports) -> bool:
    """The later of two failures is the stronger one."""
    return _strength(receipt) > _strength(current)


def _strength(report: Message | PendingReports) -> tuple[int, int]:
    return REPORT_STRENGTH[report.reported], report.failed_at_ms


def apply_watermark(message: Message, conversation: Conversation) -> None:
    """Apply the conversation's watermarks. The caller has called `before_change`.

    A watermark is compared with the time of the last attempt by our clock, which precedes the provider's own time of
    the message. For an attempt that is `unknown` it is weak evidence, and the best available.
    """
    to = watermark_state(message, conversation)
    if to is not None:
        advance(message, to)


def watermark_state(message: Message, conversation: Conversation) -> DeliveryState | None:
    """The state the watermarks give a message, or None for no change: pending and failed ones are not covered."""
    if message.from_contact or message.delivery not in WATERMARK_STATES:
        return None
    if 0 < message.dispatched_at_ms <= conversation.read_until_ms:
        return DeliveryState.READ
    delivered = message.delivery is DeliveryState.DELIVERED
    if not delivered and 0 < message.dispatched_at_ms <= conversation.delivered_until_ms:
        return DeliveryState.DELIVERED
    return None


# --- contents


def edit(target: Message | PendingReports, content: Raw, canonical: Raw, revision: int, at_ms: int) -> bool:
    """Forward only: by the provider's count, then by time. Without a count (0) on either side by time alone. Of two
    edits that are equal in both the later one in the log is kept.
    """
    if target.deleted:
        return False
    count = revision if revision and target.revision else target.revision
    order, current = (count, at_ms), (target.revision, target.edited_at_ms)
    if order < current or (order == current and bytes(content) == bytes(target.content)):
        return False
    target.content, target.canonical, target.edited_at_ms = content, canonical, at_ms
    target.revision = revision or target.revision
    return True


def react(target: Message | PendingReports, actor: str, reaction: Reaction) -> bool:
    """The latest by the provider's time, then by the log, which is the order of the dictionary."""
    current = target.reactions.get(actor)
    if target.deleted or (current is not None and (reaction.at_ms < current.at_ms or reaction == current)):
        return False
    target.reactions.pop(actor, None)
    target.reactions[actor] = reaction
    if len(target.reactions) > REACTIONS_MAX:
        del target.reactions[min(target.reactions, key=lambda name: target.reactions[name].at_ms)]
    return True


def erase(target: Message | PendingReports) -> bool:
    """Mark as deleted and remove the content: the read model keeps nothing of a deleted message."""
    if target.deleted:
        return False
    target.deleted = True
    target.content = target.canonical = NULL
    target.reactions = {}
    target.revision = target.edited_at_ms = 0
    if isinstance(target, Message):
        target.headers = {}
    return True


# --- reports that arrive before their message


def pending_for(conversation: Conversation, provider_id: str) -> PendingReports:
    """Reports so far about a message that is not folded yet. Not stored before `keep_pending`."""
    return conversation.pending_reports.get(provider_id) or PendingReports(provider_id=provider_id)


def keep_pending(conversation: Conversation, pending: PendingReports) -> None:
    conversation.pending_reports[pending.provider_id] = pending
    if len(conversation.pending_reports) > PENDING_REPORTS_MAX:
        del conversation.pending_reports[next(iter(conversation.pending_reports))]


def merge_report(pending: PendingReports, receipt: PendingReports) -> bool:
    priced = _priced_later(receipt, pending)
    if priced:
        pending.pricing, pending.priced_at_ms = receipt.pricing, receipt.priced_at_ms
    if not _stronger(receipt, pending):
        return priced
    pending.reported, pending.failed_at_ms = receipt.reported, receipt.failed_at_ms
    pending.error, pending.error_code, pending.error_kind = receipt.error, receipt.error_code, receipt.error_kind
    return True


def apply_pending(context: FoldContext, message: Message, pending: PendingReports) -> None:
    """Apply reports that arrived before the message was known by its provider id.

    The caller creates the message or has called `before_change`.
    """
    if pending.deleted:
        if erase(message) and message is not context.created:
            context.count_out(message)
    else:
        for actor, reaction in pending.reactions.items():
            react(message, actor, reaction)
        if pending.revision or pending.edited_at_ms:
            edit(message, pending.content, pending.canonical, pending.revision, pending.edited_at_ms)
    apply_report(context, message, pending)


def bind_provider_id(context: FoldContext, message: Message, provider_id: str | None) -> bool:
    """Set the provider's id of an outbound message; the first id stays. The caller has called `before_change`."""
    if provider_id is None or message.provider_id is not None:
        return False
    holder = context.state.message_by_provider_id(provider_id)
    if holder is not None and not holder.echoed:
        return False
    if holder is not None:
        _merge_copy(context, message, holder)
    message.provider_id = provider_id
    pending = context.conversation.pending_reports.pop(provider_id, None)
    if pending is not None:
        apply_pending(context, message, pending)
    return True


def _merge_copy(context: FoldContext, message: Message, copy: Message) -> None:
    """An echo without our message id created a copy of an outbound message; move the copy's reports to the original."""
    edited = copy.revision > 0 or copy.edited_at_ms > 0
    moved = PendingReports(
        provider_id=copy.provider_id or "",
        reported=copy.reported,
        failed_at_ms=copy.failed_at_ms,
        pricing=_pricing(copy),
        priced_at_ms=copy.priced_at_ms,
        error=metadata.text(copy.metadata, ERROR) or "",
        error_code=metadata.text(copy.metadata, ERROR_CODE) or "",
        error_kind=metadata.text(copy.metadata, ERROR_KIND) or "provider",
        content=copy.content if edited else NULL,
        canonical=copy.canonical if edited else NULL,
        revision=copy.revision,
        edited_at_ms=copy.edited_at_ms,
        reactions=copy.reactions,
        deleted=copy.deleted,
    )
    context.before_change(copy)
    copy.provider_id = None
    if erase(copy):
        context.count_out(copy)
    context.state.put_message(copy)  # before the original is put with the same provider id
    apply_pending(context, message, moved)
