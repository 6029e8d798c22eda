"""Rules for receipts: for messages the provider names, and for all messages up to a watermark."""

from airy.model import provider_reports as reports
from airy.model.conversation import Message, PendingReports
from airy.model.delivery_state import REPORT_STRENGTH, DeliveryState
from airy.model.fact import ReceiptReported
from airy.model.fold_context import FoldContext
from airy.model.raw import none_if_null


def reported(context: FoldContext, fact: ReceiptReported) -> bool:
    if fact.state not in REPORT_STRENGTH:
        return False
    ours = _outbound_message(context, fact)
    if ours is not None:
        accepted = [_apply_to_outbound(context, fact, ours)]
    else:
        accepted = [_apply_to_message(context, fact, provider_id) for provider_id in fact.provider_ids]
    if fact.watermark_ms is not None:
        accepted.append(_apply_watermark(context, fact.state, fact.watermark_ms))
    return any(accepted)


def _outbound_message(context: FoldContext, fact: ReceiptReported) -> Message | None:
    """The message that the receipt names by our id, if the provider's id for it is not known yet.

    A call is encoded before or after its attempt is recorded; a late receipt of an earlier attempt names none.
    """
    if fact.our_message_id is None or len(fact.provider_ids) != 1:
        return None
    message = context.state.message(fact.our_message_id)
    if message is None or message.from_contact or message.provider_id is not None or not message.channel_id:
        return None
    return message if 0 <= message.attempt - fact.our_attempt <= 1 else None


def _receipt(fact: ReceiptReported, provider_id: str) -> PendingReports:
    receipt = PendingReports(provider_id=provider_id, reported=fact.state, pricing=fact.pricing)
    receipt.priced_at_ms = 0 if none_if_null(fact.pricing) is None else fact.at_ms
    if fact.state is DeliveryState.FAILED:
        receipt.failed_at_ms = fact.at_ms
        receipt.error, receipt.error_code, receipt.error_kind = fact.error, fact.error_code, fact.error_kind
    return receipt


def _apply_to_outbound(context: FoldContext, fact: ReceiptReported, message: Message) -> bool:
    context.before_change(message)
    bound = reports.bind_provider_id(context, message, fact.provider_ids[0])
    return reports.apply_report(context, message, _receipt(fact, fact.provider_ids[0])) or bound


def _apply_to_message(context: FoldContext, fact: ReceiptReported, provider_id: str) -> bool:
    receipt = _receipt(fact, provider_id)
    message = context.state.message_by_provider_id(provider_id)
    if message is not None:
        return reports.apply_report(context, message, receipt)
    pending = reports.pending_for(context.conversation, provider_id)
    if not reports.merge_report(pending, receipt):
        return False
    reports.keep_pending(context.conversation, pending)
    return True


def _apply_watermark(context: FoldContext, state: DeliveryState, until_ms: int) -> bool:
    conversation = context.conversation
    if state not in {DeliveryState.DELIVERED, DeliveryState.READ}:
        return False
    passed_ms = conversation.read_until_ms  # a message that was read was delivered
    if state is DeliveryState.DELIVERED:
        passed_ms = max(passed_ms, conversation.delivered_until_ms)
    if until_ms <= passed_ms:
        return False
    if state is DeliveryState.READ:
        conversation.read_until_ms = until_ms
    else:
        conversation.delivered_until_ms = until_ms
    for message in context.state.outbound_up_to(until_ms, above_ms=passed_ms):
        if reports.watermark_state(message, conversation) is not None:
            context.before_change(message)
            reports.apply_watermark(message, conversation)
    return True
