"""The changes of a message's facts, and the deliveries that follow from them. Pure.

Readers of changes may have pruned them; the ids of changes derive from those of their facts, so that their deliveries
are found all the same.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from airy.bus.record import Record
from airy.commands.message_traces.record_hops import fact_of
from airy.model import ids
from airy.model.change import ChangeKind
from airy.model.entity import Webhook
from airy.store.api import StoredChange
from airy.webhooks.matching import Matcher

CHANGES_MAX = 16  # of one fact, whose ids are tried where its changes were pruned


class ExpectedDelivery(Struct, frozen=True):
    """`kind` of the change; `offset` of the fact."""

    event_id: str
    webhook_id: str
    kind: str
    offset: int

    @property
    def id(self) -> str:
        return f"{self.event_id}:{self.webhook_id}"


class FactChanges(Struct, frozen=True, kw_only=True):
    """Of one fact. `event_ids`: every id that a change of it may have. `expected`: as far as that is known."""

    offset: int
    at_ms: int
    event_ids: frozenset[str]
    changes: Sequence[StoredChange]
    expected: tuple[ExpectedDelivery, ...]


def fact_changes(
    record: Record, stored: Sequence[StoredChange], webhooks: Iterable[Webhook], *, created: bool
) -> FactChanges:
    """`stored`: its changes, as far as they are kept. Without them, a webhook is expected to have received the change
    of the message itself; `created`: whether the fact created the message.
    """
    fact = fact_of(record)
    conversation_id = record.key.decode("utf-8", "replace")
    derived = [] if fact is None else [ids.change_id(conversation_id, fact.id, nth) for nth in range(CHANGES_MAX)]
    matcher = Matcher(webhooks)
    expected: list[ExpectedDelivery] = []
    for one in stored:
        change = one.change
        expected += [
            ExpectedDelivery(change.id, webhook_id, change.kind.value, record.offset)
            for webhook_id in matcher.recipients(one)
        ]
    if not stored and derived:
        kind = ChangeKind.MESSAGE_CREATED if created else ChangeKind.MESSAGE_UPDATED
        expected += [
            ExpectedDelivery(derived[0], webhook_id, kind.value, record.offset)
            for webhook_id in matcher.receives(kind, record.position)
        ]
    return FactChanges(
        offset=record.offset,
        at_ms=record.timestamp_ms,
        event_ids=frozenset([*derived, *(one.change.id for one in stored)]),
        changes=stored,
        expected=tuple(expected),
    )


def rendered_changes(facts: FactChanges) -> list[Mapping[str, object]]:
    """For the detail of a hop."""
    return [
        {
            "id": one.change.id,
            "event": one.change.kind.value,
            "webhook_ids": [each.webhook_id for each in facts.expected if each.event_id == one.change.id],
        }
        for one in facts.changes
    ]
