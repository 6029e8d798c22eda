"""Reports of the provider that came before its answer to a send. Pure.

The fold keeps them until it knows the message, so no record of theirs changed it. They are in the log between the
attempt and its outcome.
"""

from collections.abc import Sequence
from itertools import pairwise

from airy.bus.record import Position, Record
from airy.commands.message_traces.record_hops import fact_of
from airy.commands.message_traces.record_reader import ReadRecords
from airy.model.conversation import Message
from airy.model.fact import MessageDeleted, MessageEdited, ReactionChanged, ReceiptReported, SendStarted

BETWEEN_MAX = 1_000  # offsets between an attempt and its outcome


def between_attempts(read: ReadRecords, positions: Sequence[Position]) -> list[Position]:
    """The positions behind each attempt up to the next fact about the message, where these are few."""
    found: list[Position] = []
    for position, following in pairwise(positions):
        record = read.records.get(position)
        near = following.offset - position.offset <= BETWEEN_MAX
        if record is not None and near and isinstance(fact_of(record), SendStarted):
            offsets = range(position.offset + 1, following.offset)
            found += [Position(position.topic, position.partition, offset) for offset in offsets]
    return found


def reports(records: Sequence[Record], message: Message) -> list[Position]:
    """Where the records are that report about the message."""
    key = message.conversation_id.encode()
    return [record.position for record in records if record.key == key and _names(record, message)]


def _names(record: Record, message: Message) -> bool:
    match fact_of(record):
        case ReceiptReported() as fact:
            return message.provider_id in fact.provider_ids or fact.our_message_id == message.id
        case MessageEdited() | MessageDeleted() | ReactionChanged() as fact:
            return fact.provider_id == message.provider_id
    return False
