"""Rules for receipts: about messages the provider names, and about everything up to a time."""

from airy.model import join
from airy.model.conversation import Parked
from airy.model.delivery import STRENGTH, Delivery
from airy.model.fact import ReceiptReported
from airy.model.step import Step


def reported(step: Step, fact: ReceiptReported) -> bool:
    if fact.state not in STRENGTH:
        return False
    news = [_named(step, fact, provider_id) for provider_id in fact.provider_ids]
    if fact.watermark_ms is not None:
        news.append(_watermark(step, fact.state, fact.watermark_ms))
    return any(news)


def _named(step: Step, fact: ReceiptReported, provider_id: str) -> bool:
    said = Parked(provider_id=provider_id, reported=fact.state)
    if fact.state is Delivery.FAILED:
        said.failed_at_ms, said.error, said.error_code = fact.at_ms, fact.error, fact.error_code
    message = step.state.message_by_provider_id(provider_id)
    if message is not None:
        return join.report(step, message, said)
    entry = join.parked(step.conversation, provider_id)
    if not join.park_report(entry, said):
        return False
    join.park(step.conversation, entry)
    return True


def _watermark(step: Step, state: Delivery, until_ms: int) -> bool:
    conversation = step.conversation
    if state not in {Delivery.DELIVERED, Delivery.READ}:
        return False
    passed_ms = conversation.read_until_ms  # what was read was delivered
    if state is Delivery.DELIVERED:
        passed_ms = max(passed_ms, conversation.delivered_until_ms)
    if until_ms <= passed_ms:
        return False
    if state is Delivery.READ:
        conversation.read_until_ms = until_ms
    else:
        conversation.delivered_until_ms = until_ms
    for message in step.state.ours_up_to(until_ms, above_ms=passed_ms):
        if join.watermarked(message, conversation) is not None:
            step.touch(message)
            join.settle_by_watermark(message, conversation)
    return True
