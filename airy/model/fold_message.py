"""Rules for messages: received, echoed, queued, edited, deleted, reacted to."""

from airy.model import messaging_window
from airy.model import provider_reports as reports
from airy.model.conversation import Conversation, Message, PendingReports, Reaction
from airy.model.delivery_state import DeliveryState
from airy.model.fact import (
    MessageDeferred,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageQueued,
    MessageReceived,
    ReactionChanged,
)
from airy.model.fold_context import FoldContext


def received(context: FoldContext, fact: MessageReceived) -> bool:
    if context.state.message(fact.message_id) is not None:
        return False
    conversation = context.conversation
    _begin(conversation, fact, fact.participant_id)
    conversation.window_until_ms = messaging_window.extended(conversation, fact.window_until_ms)
    _add_message(
        context,
        Message(
            id=fact.message_id,
            conversation_id=conversation.id,
            channel_id=fact.channel_id,
            source=fact.source,
            sequence=context.sequence,
            content=fact.content,
            canonical=fact.canonical,
            from_contact=True,
            sender_id=fact.sender_id or fact.participant_id,
            sent_at_ms=fact.at_ms,
            updated_at_ms=fact.at_ms,
            delivery=DeliveryState.DELIVERED,
            provider_id=fact.provider_id,
            headers=fact.headers,
            reply_to=fact.reply_to,
            standby=fact.standby,
        ),
    )
    return True


def echoed(context: FoldContext, fact: MessageEchoed) -> bool:
    known = _echoed_message(context, fact)
    if known is not None:
        context.before_change(known)
        bound = reports.bind_provider_id(context, known, fact.provider_id)
        echo = PendingReports(provider_id=fact.provider_id, reported=DeliveryState.SENT)
        return reports.apply_report(context, known, echo) or bound
    if context.state.message(fact.message_id) is not None:
        return False
    _begin(context.conversation, fact, fact.participant_id)
    _add_message(
        context,
        Message(
            id=fact.message_id,
            conversation_id=context.conversation.id,
            channel_id=fact.channel_id,
            source=fact.source,
            sequence=context.sequence,
            content=fact.content,
            canonical=fact.canonical,
            from_contact=False,
            sender_id=fact.sender_id,
            sent_at_ms=fact.at_ms,
            updated_at_ms=fact.at_ms,
            delivery=DeliveryState.SENT,
            reported=DeliveryState.SENT,
            provider_id=fact.provider_id,
            headers=fact.headers,
            echoed=True,
            recipient_id=fact.participant_id,
        ),
    )
    return True


def _echoed_message(context: FoldContext, fact: MessageEchoed) -> Message | None:
    """The message that is echoed, if there is one. A message bound to another provider id is not it: the provider
    holds two copies, because the message was sent twice.
    """
    if fact.our_message_id is not None:
        ours = context.state.message(fact.our_message_id)
        if (
            ours is not None
            and not ours.from_contact
            and ours.channel_id
            and ours.provider_id in {None, fact.provider_id}
        ):
            return ours
    return context.state.message_by_provider_id(fact.provider_id)


def queued(context: FoldContext, fact: MessageQueued) -> bool:
    conversation = context.conversation
    recipient_id = fact.recipient_id or conversation.participant_id
    known = context.state.message(fact.message_id)
    if recipient_id is None or (known is not None and not _waits_for_channel(known)):
        return False
    _begin(conversation, fact, recipient_id)
    if known is not None:
        _address(context, known, recipient_id, fact)
        return True
    _add_message(
        context,
        Message(
            id=fact.message_id,
            conversation_id=conversation.id,
            channel_id=fact.channel_id,
            source=fact.source,
            sequence=context.sequence,
            content=fact.content,
            canonical=fact.canonical,
            from_contact=False,
            sender_id=fact.sender_id,
            sent_at_ms=fact.at_ms,
            updated_at_ms=fact.at_ms,
            delivery=DeliveryState.PENDING,
            recipient_id=recipient_id,
            expires_at_ms=fact.expires_at_ms,
        ),
    )
    return True


def deferred(context: FoldContext, fact: MessageDeferred) -> bool:
    """In a conversation that has begun meanwhile, the message gets its channel at once."""
    conversation = context.conversation
    if context.state.message(fact.message_id) is not None:
        return False
    begun = conversation.participant_id is not None
    _add_message(
        context,
        Message(
            id=fact.message_id,
            conversation_id=conversation.id,
            channel_id=conversation.channel_id if begun else "",
            source=conversation.source if begun else "",
            sequence=context.sequence,
            content=fact.content,
            canonical=fact.canonical,
            from_contact=False,
            sender_id=fact.sender_id,
            sent_at_ms=fact.at_ms,
            updated_at_ms=fact.at_ms,
            delivery=DeliveryState.PENDING,
            recipient_id=fact.recipient_id or conversation.participant_id,
            expires_at_ms=fact.expires_at_ms if begun else fact.waits_until_ms,
        ),
    )
    return True


def _waits_for_channel(message: Message) -> bool:
    return not message.channel_id and message.delivery is DeliveryState.PENDING


def _address(context: FoldContext, message: Message, recipient_id: str, fact: MessageQueued) -> None:
    """Give a deferred message its channel."""
    context.before_change(message)
    message.channel_id, message.source = fact.channel_id, fact.source
    message.recipient_id = recipient_id
    message.expires_at_ms = fact.expires_at_ms
    message.updated_at_ms = max(message.updated_at_ms, fact.at_ms)
    if message.id == context.conversation.last_message_id:
        context.conversation_changed = True


def _begin(
    conversation: Conversation, fact: MessageReceived | MessageEchoed | MessageQueued, participant_id: str
) -> None:
    """What the first message with a channel says about the conversation."""
    if not conversation.channel_id:
        conversation.channel_id, conversation.source = fact.channel_id, fact.source
    if conversation.participant_id is None:
        conversation.participant_id = participant_id


def _add_message(context: FoldContext, message: Message) -> None:
    context.created = message
    conversation = context.conversation
    if conversation.pending_reports and message.provider_id is not None:
        pending = conversation.pending_reports.pop(message.provider_id, None)
        if pending is not None:
            reports.apply_pending(context, message, pending)
    reports.apply_watermark(message, conversation)
    context.count_in()


def edited(context: FoldContext, fact: MessageEdited) -> bool:
    message = context.state.message_by_provider_id(fact.provider_id)
    if message is not None:
        context.before_change(message)
        return reports.edit(message, fact.content, fact.canonical, fact.revision, fact.at_ms)
    pending = reports.pending_for(context.conversation, fact.provider_id)
    if not reports.edit(pending, fact.content, fact.canonical, fact.revision, fact.at_ms):
        return False
    reports.keep_pending(context.conversation, pending)
    return True


def deleted(context: FoldContext, fact: MessageDeleted) -> bool:
    message = context.state.message_by_provider_id(fact.provider_id)
    if message is not None:
        context.before_change(message)
        if not reports.erase(message):
            return False
        context.count_out(message)
        return True
    pending = reports.pending_for(context.conversation, fact.provider_id)
    if not reports.erase(pending):
        return False
    reports.keep_pending(context.conversation, pending)
    return True


def reacted(context: FoldContext, fact: ReactionChanged) -> bool:
    reaction = Reaction(emoji=fact.emoji, at_ms=fact.at_ms)
    message = context.state.message_by_provider_id(fact.provider_id)
    if message is not None:
        context.before_change(message)
        return reports.react(message, fact.actor, reaction)
    pending = reports.pending_for(context.conversation, fact.provider_id)
    if not reports.react(pending, fact.actor, reaction):
        return False
    reports.keep_pending(context.conversation, pending)
    return True
