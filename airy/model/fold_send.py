"""Rules for sending: attempts are claimed, end, and are asked for again.

An attempt has a number. The claim of the next number is accepted once, so one worker calls the provider; its
outcome is accepted once too, and closes the attempt. Resending spends a number, so that no claim made before
can come true after.
"""

from airy.model import join, metadata
from airy.model.conversation import Message
from airy.model.delivery import Delivery
from airy.model.fact import ResendRequested, SendFailed, SendStarted, SendSucceeded, SendUnknown
from airy.model.step import Step


def resend_requested(step: Step, fact: ResendRequested) -> bool:
    message = _ours(step, fact.message_id)
    if message is None or message.delivery is not Delivery.FAILED or message.deleted:
        return False
    step.touch(message)
    join.move(message, Delivery.PENDING)
    message.attempt += 1
    message.worker = None
    message.retry_at_ms = 0
    message.expires_at_ms = fact.expires_at_ms
    # what the provider said was about the old attempt; late news about that must not touch the new one
    message.provider_id = message.reported = None
    message.failed_at_ms = 0
    return True


def started(step: Step, fact: SendStarted) -> bool:
    message = _ours(step, fact.message_id)
    if message is None or message.delivery is not Delivery.PENDING or fact.attempt != message.attempt + 1:
        return False
    step.touch(message)
    join.move(message, Delivery.SENDING)
    message.attempt = fact.attempt
    message.attempt_count += 1
    message.attempt_at_ms = fact.at_ms
    message.worker = fact.worker
    message.retry_at_ms = 0
    return True


def succeeded(step: Step, fact: SendSucceeded) -> bool:
    message = _open(step, fact)
    if message is None:
        return False
    step.touch(message)
    message.worker = None
    if message.delivery in {Delivery.SENDING, Delivery.UNKNOWN}:
        join.move(message, Delivery.SENT)
    join.bind(step, message, fact.provider_id)
    join.settle_by_watermark(message, step.conversation)
    return True


def failed(step: Step, fact: SendFailed) -> bool:
    message = _open(step, fact) or _refused(step, fact)
    if message is None:
        return False
    step.touch(message)
    message.worker = None
    if message.reported is not None:
        return True  # the provider itself spoke about this message, and it knows better
    if fact.retry_at_ms is None:
        join.fail(message, kind=fact.error_kind, error=fact.error, code=fact.error_code, detail=fact.detail)
        return True
    if message.delivery is not Delivery.PENDING:
        join.move(message, Delivery.PENDING)
    message.retry_at_ms = fact.retry_at_ms
    return True


def unknown(step: Step, fact: SendUnknown) -> bool:
    message = _open(step, fact)
    if message is None or message.delivery is not Delivery.SENDING:
        return False
    step.touch(message)
    join.move(message, Delivery.UNKNOWN)
    metadata.put(message.metadata, join.UNKNOWN_REASON, metadata.value(fact.reason))
    join.settle_by_watermark(message, step.conversation)
    return True


def _ours(step: Step, message_id: str) -> Message | None:
    message = step.state.message(message_id)
    return message if message is not None and not message.from_contact and not message.echoed else None


def _open(step: Step, fact: SendSucceeded | SendFailed | SendUnknown) -> Message | None:
    """The message, if this attempt was claimed and has no outcome yet."""
    message = _ours(step, fact.message_id)
    is_open = message is not None and message.worker is not None and message.attempt == fact.attempt
    return message if is_open else None


def _refused(step: Step, fact: SendFailed) -> Message | None:
    """The message, if it is failed before anybody claimed the next attempt: it expired, or cannot be sent at
    all.
    """
    message = _ours(step, fact.message_id)
    waits = message is not None and message.delivery is Delivery.PENDING and message.attempt == fact.attempt
    return message if waits else None
