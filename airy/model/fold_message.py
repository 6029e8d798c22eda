"""Rules for messages: they arrive, are echoed, queued, edited, deleted and reacted to."""

from airy.model import join, window
from airy.model.conversation import Conversation, Message, Parked, Reaction
from airy.model.delivery import Delivery
from airy.model.fact import (
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageQueued,
    MessageReceived,
    ReactionChanged,
)
from airy.model.step import Step


def received(step: Step, fact: MessageReceived) -> bool:
    if step.state.message(fact.message_id) is not None:
        return False
    conversation = step.conversation
    _meet(conversation, fact.participant_id)
    conversation.window_until_ms = window.extended(conversation, fact.window_until_ms)
    _bring(
        step,
        Message(
            id=fact.message_id,
            conversation_id=conversation.id,
            channel_id=fact.channel_id,
            source=fact.source,
            sequence=step.sequence,
            content=fact.content,
            from_contact=True,
            sender_id=fact.participant_id,
            sent_at_ms=fact.at_ms,
            updated_at_ms=fact.at_ms,
            delivery=Delivery.DELIVERED,
            provider_id=fact.provider_id,
            headers=fact.headers,
            reply_to=fact.reply_to,
            standby=fact.standby,
        ),
    )
    return True


def echoed(step: Step, fact: MessageEchoed) -> bool:
    known = _known(step, fact)
    if known is not None:
        step.touch(known)
        bound = join.bind(step, known, fact.provider_id)
        sent = Parked(provider_id=fact.provider_id, reported=Delivery.SENT)
        return join.report(step, known, sent) or bound
    if step.state.message(fact.message_id) is not None:
        return False
    _meet(step.conversation, fact.participant_id)
    _bring(
        step,
        Message(
            id=fact.message_id,
            conversation_id=step.conversation.id,
            channel_id=fact.channel_id,
            source=fact.source,
            sequence=step.sequence,
            content=fact.content,
            from_contact=False,
            sender_id=fact.sender_id,
            sent_at_ms=fact.at_ms,
            updated_at_ms=fact.at_ms,
            delivery=Delivery.SENT,
            reported=Delivery.SENT,
            provider_id=fact.provider_id,
            headers=fact.headers,
            echoed=True,
            recipient_id=fact.participant_id,
        ),
    )
    return True


def _known(step: Step, fact: MessageEchoed) -> Message | None:
    """The message of ours that is echoed; not one that has another id there: that was sent twice."""
    if fact.our_message_id is not None:
        ours = step.state.message(fact.our_message_id)
        if ours is not None and not ours.from_contact and ours.provider_id in {None, fact.provider_id}:
            return ours
    return step.state.message_by_provider_id(fact.provider_id)


def queued(step: Step, fact: MessageQueued) -> bool:
    conversation = step.conversation
    recipient_id = fact.recipient_id or conversation.participant_id
    if recipient_id is None or step.state.message(fact.message_id) is not None:
        return False
    _meet(conversation, recipient_id)
    _bring(
        step,
        Message(
            id=fact.message_id,
            conversation_id=conversation.id,
            channel_id=fact.channel_id,
            source=fact.source,
            sequence=step.sequence,
            content=fact.content,
            from_contact=False,
            sender_id=fact.sender_id,
            sent_at_ms=fact.at_ms,
            updated_at_ms=fact.at_ms,
            delivery=Delivery.PENDING,
            recipient_id=recipient_id,
            expires_at_ms=fact.expires_at_ms,
        ),
    )
    return True


def _meet(conversation: Conversation, participant_id: str) -> None:
    if conversation.participant_id is None:
        conversation.participant_id = participant_id


def _bring(step: Step, message: Message) -> None:
    step.created = message
    conversation = step.conversation
    if conversation.parked and message.provider_id is not None:
        entry = conversation.parked.pop(message.provider_id, None)
        if entry is not None:
            join.join(step, message, entry)
    join.settle_by_watermark(message, conversation)
    step.admit()


def edited(step: Step, fact: MessageEdited) -> bool:
    message = step.state.message_by_provider_id(fact.provider_id)
    if message is not None:
        step.touch(message)
        return join.edit(message, fact.content, fact.revision, fact.at_ms)
    entry = join.parked(step.conversation, fact.provider_id)
    if not join.edit(entry, fact.content, fact.revision, fact.at_ms):
        return False
    join.park(step.conversation, entry)
    return True


def deleted(step: Step, fact: MessageDeleted) -> bool:
    message = step.state.message_by_provider_id(fact.provider_id)
    if message is not None:
        step.touch(message)
        if not join.erase(message):
            return False
        step.delete(message)
        return True
    entry = join.parked(step.conversation, fact.provider_id)
    if not join.erase(entry):
        return False
    join.park(step.conversation, entry)
    return True


def reacted(step: Step, fact: ReactionChanged) -> bool:
    reaction = Reaction(emoji=fact.emoji, at_ms=fact.at_ms)
    message = step.state.message_by_provider_id(fact.provider_id)
    if message is not None:
        step.touch(message)
        return join.react(message, fact.actor, reaction)
    entry = join.parked(step.conversation, fact.provider_id)
    if not join.react(entry, fact.actor, reaction):
        return False
    join.park(step.conversation, entry)
    return True
