"""What is true of every conversation after every fact, and of the changes it caused.

Pure and named: tests, the simulation and `airy verify` ask the same predicates, so a broken one has the
same name everywhere.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Struct

from airy.model import join, metadata
from airy.model.change import Change, ChangeKind
from airy.model.conversation import PARKED_MAX, REACTIONS_MAX, Conversation, Message
from airy.model.delivery import STRENGTH, Delivery, may_move
from airy.model.raw import NULL

Messages = Sequence[Message]  # all of one conversation, in any order
Predicate = Callable[[Conversation, Messages], bool]

_REACHED = frozenset({Delivery.SENT, Delivery.DELIVERED, Delivery.READ})


def numbered_once(conversation: Conversation, messages: Messages) -> bool:
    """M-1: no two messages have one sequence, and none has one that was not given yet."""
    numbers = [message.sequence for message in messages]
    in_range = all(0 < number <= conversation.sequence for number in numbers)
    return in_range and len(set(numbers)) == len(numbers)


def counted(conversation: Conversation, messages: Messages) -> bool:
    """M-2: the conversation knows how many messages it has, and when the earliest was sent."""
    if conversation.message_count != len(messages):
        return False
    return not messages or conversation.created_at_ms == min(message.sent_at_ms for message in messages)


def unread_counted(conversation: Conversation, messages: Messages) -> bool:
    """M-3: unread are exactly the contact's messages after the last reading that were not deleted."""
    unread = [
        message
        for message in messages
        if message.from_contact and not message.deleted and message.sequence > conversation.read_sequence
    ]
    return conversation.unread_count == len(unread)


def last_is_latest(conversation: Conversation, messages: Messages) -> bool:
    """M-4: the last message is the latest that was not deleted; later sequence wins a tie."""
    shown = [message for message in messages if not message.deleted]
    latest = max(shown, key=lambda message: (message.sent_at_ms, message.sequence), default=None)
    if latest is None:
        return conversation.last_message_id is None
    return (conversation.last_message_id, conversation.last_message_at_ms) == (latest.id, latest.sent_at_ms)


def provider_ids_once(_conversation: Conversation, messages: Messages) -> bool:
    """M-5: a provider's id belongs to one message."""
    given = [message.provider_id for message in messages if message.provider_id is not None]
    return len(set(given)) == len(given)


def inbound_is_delivered(_conversation: Conversation, messages: Messages) -> bool:
    """M-6: what a contact wrote is delivered, and nobody tries to send it."""
    return all(
        message.delivery is Delivery.DELIVERED and message.attempt == 0 and message.reported is None
        for message in messages
        if message.from_contact
    )


def attempts_add_up(_conversation: Conversation, messages: Messages) -> bool:
    """M-7: who is sending is known, who waits has nobody, and attempts have numbers of their own."""
    return all(
        (message.delivery is not Delivery.SENDING or message.worker is not None)
        and (message.delivery is not Delivery.PENDING or message.worker is None)
        and (message.attempt_count > 0 or message.worker is None)
        and message.attempt >= message.attempt_count
        for message in messages
    )


def failures_explained(_conversation: Conversation, messages: Messages) -> bool:
    """M-8: a failed message says why, and only a failed one does."""
    return all((one.delivery is Delivery.FAILED) == (join.ERROR in one.metadata) for one in messages)


def reports_heeded(_conversation: Conversation, messages: Messages) -> bool:
    """M-9: a message is never behind what the provider said about it."""
    for message in messages:
        said = message.reported
        if said is Delivery.FAILED and message.delivery is not Delivery.FAILED:
            return False
        if said in _REACHED and STRENGTH[said] > STRENGTH.get(message.delivery, 0):
            return False
    return True


def watermarks_applied(conversation: Conversation, messages: Messages) -> bool:
    """M-10: no message that may be out is behind a watermark that covers it."""
    return all(join.watermarked(message, conversation) is None for message in messages)


def deleted_is_empty(_conversation: Conversation, messages: Messages) -> bool:
    """M-11: nothing a deleted message said is kept."""
    return all(
        bytes(message.content) == bytes(NULL) and not message.reactions and not message.headers
        for message in messages
        if message.deleted
    )


def metadata_is_a_document(conversation: Conversation, messages: Messages) -> bool:
    """M-12: no metadata key stands above another."""
    flats = [conversation.metadata, *(message.metadata for message in messages)]
    return not any(metadata.conflicts(flat) for flat in flats)


def parked_is_bounded(conversation: Conversation, messages: Messages) -> bool:
    """M-13: news waits only for messages that are not there, and not for too many of them."""
    known = {message.provider_id for message in messages}
    waiting = conversation.parked
    actors = [len(message.reactions) for message in messages]
    actors += [len(entry.reactions) for entry in waiting.values()]
    bounded = len(waiting) <= PARKED_MAX and max(actors, default=0) <= REACTIONS_MAX
    return bounded and not known & waiting.keys()


def tagged_once(conversation: Conversation, _messages: Messages) -> bool:
    """M-14: a tag is on a conversation or it is not."""
    return len(set(conversation.tags)) == len(conversation.tags)


INVARIANTS: dict[str, Predicate] = {
    "M-1": numbered_once,
    "M-2": counted,
    "M-3": unread_counted,
    "M-4": last_is_latest,
    "M-5": provider_ids_once,
    "M-6": inbound_is_delivered,
    "M-7": attempts_add_up,
    "M-8": failures_explained,
    "M-9": reports_heeded,
    "M-10": watermarks_applied,
    "M-11": deleted_is_empty,
    "M-12": metadata_is_a_document,
    "M-13": parked_is_bounded,
    "M-14": tagged_once,
}


def broken(conversation: Conversation, messages: Messages) -> list[str]:
    """The names of the invariants that do not hold: none, ever."""
    return [name for name, holds in INVARIANTS.items() if not holds(conversation, messages)]


def moved_by_the_table(before: Message | None, after: Message) -> bool:
    """M-15: a delivery state changes only along `delivery.MOVES`; a message never moves back in the log."""
    if before is None:
        return True
    same = before.sequence == after.sequence and before.from_contact == after.from_contact
    return same and (before.delivery is after.delivery or may_move(before.delivery, after.delivery))


class _Named(Struct):
    id: str


class _Payload(Struct):
    message: _Named | None = None
    message_id: str = ""


class _Body(Struct):
    payload: _Payload


_BODY = msgspec.json.Decoder(_Body)
_ABOUT_MESSAGES = {  # what may have been said about a message before
    ChangeKind.MESSAGE_CREATED: frozenset({None}),
    ChangeKind.MESSAGE_UPDATED: frozenset({ChangeKind.MESSAGE_CREATED, ChangeKind.MESSAGE_UPDATED}),
    ChangeKind.MESSAGE_DELETED: frozenset({ChangeKind.MESSAGE_CREATED, ChangeKind.MESSAGE_UPDATED}),
}


def told_wrongly(changes: Iterable[Change]) -> list[str]:
    """What is wrong with the changes of one conversation, given in the order they were made: nothing, ever.

    C-1: sequences do not fall. C-2: ids are unique. C-3: a message is created once, then updated, then deleted
    once, and never heard of again.
    """
    wrong: list[str] = []
    told: set[str] = set()
    lives: dict[str, ChangeKind] = {}
    sequence = 0
    for change in changes:
        if change.sequence < sequence:
            wrong.append(f"C-1: {change.id} has sequence {change.sequence} after {sequence}")
        if change.id in told:
            wrong.append(f"C-2: {change.id} was made twice")
        sequence = change.sequence
        told.add(change.id)
        if change.kind in _ABOUT_MESSAGES:
            payload = _BODY.decode(change.body).payload
            message_id = payload.message.id if payload.message else payload.message_id
            before = lives.get(message_id)
            if before not in _ABOUT_MESSAGES[change.kind]:
                wrong.append(f"C-3: {message_id}: {change.kind} after {before or 'nothing'}")
            lives[message_id] = change.kind
    return wrong
