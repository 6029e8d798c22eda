"""Rules for sending: an attempt is claimed, gets an outcome; a failed message can be resent, a pending one cancelled.

An attempt has a number. The claim of the next number is accepted once, so one worker calls the provider; its outcome
is accepted once too, and closes the attempt. A resend uses up a number, so that no earlier claim can be accepted
after it. A cancelled message is failed, so no claim that follows in the log is accepted.
"""

from airy.model import metadata
from airy.model import provider_reports as reports
from airy.model.conversation import Message
from airy.model.delivery_state import DeliveryState
from airy.model.fact import CancelRequested, ResendRequested, SendFailed, SendStarted, SendSucceeded, SendUnknown
from airy.model.fold_context import FoldContext


def resend_requested(context: FoldContext, fact: ResendRequested) -> bool:
    message = _outbound(context, fact.message_id)
    if message is None or message.delivery is not DeliveryState.FAILED or message.deleted:
        return False
    context.before_change(message)
    reports.transition(message, DeliveryState.PENDING)
    message.attempt += 1
    message.worker = None
    message.retry_at_ms = 0
    message.expires_at_ms = fact.expires_at_ms
    # the provider's reports are about the old attempt; a late one must not change the new attempt
    message.provider_id = message.reported = None
    message.failed_at_ms = 0
    return True


def cancel_requested(context: FoldContext, fact: CancelRequested) -> bool:
    message = _outbound(context, fact.message_id)
    if message is None or message.delivery is not DeliveryState.PENDING or message.deleted:
        return False
    context.before_change(message)
    error = reports.with_last_error("cancelled before it was sent", message)
    reports.fail(message, kind="cancelled", error=error)
    message.retry_at_ms = 0
    return True


def started(context: FoldContext, fact: SendStarted) -> bool:
    message = _outbound(context, fact.message_id)
    if message is None or message.delivery is not DeliveryState.PENDING or fact.attempt != message.attempt + 1:
        return False
    if not message.channel_id:
        return False  # deferred
    context.before_change(message)
    reports.transition(message, DeliveryState.SENDING)
    message.attempt = fact.attempt
    message.attempt_count += 1
    message.attempt_at_ms = fact.at_ms
    message.worker = fact.worker
    message.retry_at_ms = 0
    return True


def succeeded(context: FoldContext, fact: SendSucceeded) -> bool:
    message = _open_attempt(context, fact)
    if message is None:
        return False
    context.before_change(message)
    message.worker = None
    if message.delivery in {DeliveryState.SENDING, DeliveryState.UNKNOWN}:
        reports.transition(message, DeliveryState.SENT)
    reports.bind_provider_id(context, message, fact.provider_id)
    reports.apply_watermark(message, context.conversation)
    return True


def failed(context: FoldContext, fact: SendFailed) -> bool:
    message = _open_attempt(context, fact) or _failed_unclaimed(context, fact)
    if message is None or (fact.retry_at_ms is not None and not message.channel_id):
        return False
    context.before_change(message)
    message.worker = None
    if message.reported is not None:
        return True  # the provider reported on this message itself, which outweighs our own outcome
    if fact.retry_at_ms is None:
        reports.fail(message, kind=fact.error_kind, error=fact.error, code=fact.error_code, detail=fact.detail)
        return True
    if message.delivery is not DeliveryState.PENDING:
        reports.transition(message, DeliveryState.PENDING)
    message.retry_at_ms = fact.retry_at_ms
    reports.put_error(message, kind=fact.error_kind, error=fact.error, code=fact.error_code, detail=fact.detail)
    return True


def unknown(context: FoldContext, fact: SendUnknown) -> bool:
    message = _open_attempt(context, fact)
    if message is None or message.delivery is not DeliveryState.SENDING:
        return False
    context.before_change(message)
    reports.transition(message, DeliveryState.UNKNOWN)
    metadata.put(message.metadata, reports.UNKNOWN_REASON, metadata.value(fact.reason))
    reports.apply_watermark(message, context.conversation)
    return True


def _outbound(context: FoldContext, message_id: str) -> Message | None:
    message = context.state.message(message_id)
    return message if message is not None and not message.from_contact and not message.echoed else None


def _open_attempt(context: FoldContext, fact: SendSucceeded | SendFailed | SendUnknown) -> Message | None:
    """The message, if this attempt was claimed and has no outcome yet."""
    message = _outbound(context, fact.message_id)
    is_open = message is not None and message.worker is not None and message.attempt == fact.attempt
    return message if is_open else None


def _failed_unclaimed(context: FoldContext, fact: SendFailed) -> Message | None:
    """The message, if it fails before the next attempt was claimed: it expired, or cannot be sent at all."""
    message = _outbound(context, fact.message_id)
    unclaimed = message is not None and message.delivery is DeliveryState.PENDING and message.attempt == fact.attempt
    return message if unclaimed else None
