"""Invariants of every conversation after every fact, and of the changes it caused.

Pure and named: tests, the simulation and `airy verify` use the same predicates, so a violation has the same name
everywhere.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Struct

from airy.model import metadata
from airy.model import provider_reports as reports
from airy.model.change import Change, ChangeKind
from airy.model.conversation import PENDING_REPORTS_MAX, REACTIONS_MAX, Conversation, Message
from airy.model.delivery_state import REPORT_STRENGTH, DeliveryState, may_transition
from airy.model.raw import NULL

Messages = Sequence[Message]  # all of one conversation, in any order
Predicate = Callable[[Conversation, Messages], bool]

_UNSENT_STATES = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})
_ACCEPTED_STATES = frozenset({DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ})


def sequences_unique(conversation: Conversation, messages: Messages) -> bool:
    """M-1: no two messages share a sequence, and none has one above the conversation's."""
    numbers = [message.sequence for message in messages]
    in_range = all(0 < number <= conversation.sequence for number in numbers)
    return in_range and len(set(numbers)) == len(numbers)


def message_count_correct(conversation: Conversation, messages: Messages) -> bool:
    """M-2: the conversation's message count and creation time match its messages."""
    if conversation.message_count != len(messages):
        return False
    return not messages or conversation.created_at_ms == min(message.sent_at_ms for message in messages)


def unread_count_correct(conversation: Conversation, messages: Messages) -> bool:
    """M-3: unread are exactly the contact's messages after `read_sequence` that are not deleted."""
    unread = [
        message
        for message in messages
        if message.from_contact and not message.deleted and message.sequence > conversation.read_sequence
    ]
    return conversation.unread_count == len(unread)


def last_is_latest(conversation: Conversation, messages: Messages) -> bool:
    """M-4: the last message is the one with the greatest sequence that is not deleted."""
    shown = [message for message in messages if not message.deleted]
    latest = max(shown, key=lambda message: message.sequence, default=None)
    if latest is None:
        return conversation.last_message_id is None
    return (conversation.last_message_id, conversation.last_message_at_ms) == (latest.id, latest.sent_at_ms)


def provider_ids_unique(_conversation: Conversation, messages: Messages) -> bool:
    """M-5: a provider id belongs to one message."""
    given = [message.provider_id for message in messages if message.provider_id is not None]
    return len(set(given)) == len(given)


def inbound_is_delivered(_conversation: Conversation, messages: Messages) -> bool:
    """M-6: an inbound message is delivered and has no send attempt."""
    return all(
        message.delivery is DeliveryState.DELIVERED and message.attempt == 0 and message.reported is None
        for message in messages
        if message.from_contact
    )


def attempts_consistent(_conversation: Conversation, messages: Messages) -> bool:
    """M-7: a sending message has a worker, a pending one has none, and every started attempt used a number."""
    return all(
        (message.delivery is not DeliveryState.SENDING or message.worker is not None)
        and (message.delivery is not DeliveryState.PENDING or message.worker is None)
        and (message.attempt_count > 0 or message.worker is None)
        and message.attempt >= message.attempt_count
        for message in messages
    )


def failures_have_error(_conversation: Conversation, messages: Messages) -> bool:
    """M-8: a message has an error in its metadata exactly if it is failed, or waits for another attempt or is in it."""
    return all(
        (one.delivery is DeliveryState.FAILED or reports.NEXT_ATTEMPT_AT in one.metadata)
        == (reports.ERROR in one.metadata)
        and (reports.NEXT_ATTEMPT_AT not in one.metadata or one.delivery in _UNSENT_STATES)
        for one in messages
    )


def reports_applied(_conversation: Conversation, messages: Messages) -> bool:
    """M-9: a message is never behind the strongest report about it."""
    for message in messages:
        report = message.reported
        if report is DeliveryState.FAILED and message.delivery is not DeliveryState.FAILED:
            return False
        if report in _ACCEPTED_STATES and REPORT_STRENGTH[report] > REPORT_STRENGTH.get(message.delivery, 0):
            return False
    return True


def watermarks_applied(conversation: Conversation, messages: Messages) -> bool:
    """M-10: no message is behind a watermark that covers it."""
    return all(reports.watermark_state(message, conversation) is None for message in messages)


def deleted_is_empty(_conversation: Conversation, messages: Messages) -> bool:
    """M-11: a deleted message keeps no content, reactions or headers."""
    return all(
        bytes(message.content) == bytes(NULL) and not message.reactions and not message.headers
        for message in messages
        if message.deleted
    )


def metadata_keys_disjoint(conversation: Conversation, messages: Messages) -> bool:
    """M-12: no metadata key is a dotted prefix of another."""
    flats = [conversation.metadata, *(message.metadata for message in messages)]
    return not any(metadata.conflicts(flat) for flat in flats)


def pending_reports_bounded(conversation: Conversation, messages: Messages) -> bool:
    """M-13: reports are pending only for messages that are not folded, and within bounds."""
    known = {message.provider_id for message in messages}
    pending = conversation.pending_reports
    actors = [len(message.reactions) for message in messages]
    actors += [len(each.reactions) for each in pending.values()]
    bounded = len(pending) <= PENDING_REPORTS_MAX and max(actors, default=0) <= REACTIONS_MAX
    return bounded and not known & pending.keys()


def tags_unique(conversation: Conversation, _messages: Messages) -> bool:
    """M-14: a conversation has a tag at most once."""
    return len(set(conversation.tags)) == len(conversation.tags)


INVARIANTS: dict[str, Predicate] = {
    "M-1": sequences_unique,
    "M-2": message_count_correct,
    "M-3": unread_count_correct,
    "M-4": last_is_latest,
    "M-5": provider_ids_unique,
    "M-6": inbound_is_delivered,
    "M-7": attempts_consistent,
    "M-8": failures_have_error,
    "M-9": reports_applied,
    "M-10": watermarks_applied,
    "M-11": deleted_is_empty,
    "M-12": metadata_keys_disjoint,
    "M-13": pending_reports_bounded,
    "M-14": tags_unique,
}


def violations(conversation: Conversation, messages: Messages) -> list[str]:
    """The names of the invariants that do not hold."""
    return [name for name, holds in INVARIANTS.items() if not holds(conversation, messages)]


def transition_allowed(before: Message | None, after: Message) -> bool:
    """M-15: a delivery state changes only along `delivery_state.TRANSITIONS`; sequence and direction are fixed."""
    if before is None:
        return True
    same = before.sequence == after.sequence and before.from_contact == after.from_contact
    return same and (before.delivery is after.delivery or may_transition(before.delivery, after.delivery))


class _MessageId(Struct):
    id: str


class _Payload(Struct):
    message: _MessageId | None = None
    message_id: str = ""


class _Body(Struct):
    payload: _Payload


_BODY = msgspec.json.Decoder(_Body)
_ALLOWED_BEFORE = {  # per kind: the previous change of the same message
    ChangeKind.MESSAGE_CREATED: frozenset({None}),
    ChangeKind.MESSAGE_UPDATED: frozenset({ChangeKind.MESSAGE_CREATED, ChangeKind.MESSAGE_UPDATED}),
    ChangeKind.MESSAGE_DELETED: frozenset({ChangeKind.MESSAGE_CREATED, ChangeKind.MESSAGE_UPDATED}),
}


def change_violations(changes: Iterable[Change]) -> list[str]:
    """Violations among the changes of one conversation, given in the order they were made.

    C-1: sequences do not fall. C-2: ids are unique. C-3: a message is created once, then updated, then deleted once,
    and has no change after that.
    """
    found: list[str] = []
    ids: set[str] = set()
    last_kinds: dict[str, ChangeKind] = {}
    sequence = 0
    for change in changes:
        if change.sequence < sequence:
            found.append(f"C-1: {change.id} has sequence {change.sequence} after {sequence}")
        if change.id in ids:
            found.append(f"C-2: {change.id} was made twice")
        sequence = change.sequence
        ids.add(change.id)
        if change.kind in _ALLOWED_BEFORE:
            payload = _BODY.decode(change.body).payload
            message_id = payload.message.id if payload.message else payload.message_id
            before = last_kinds.get(message_id)
            if before not in _ALLOWED_BEFORE[change.kind]:
                found.append(f"C-3: {message_id}: {change.kind} after {before or 'nothing'}")
            last_kinds[message_id] = change.kind
    return found
