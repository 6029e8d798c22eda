"""Which webhooks receive a change. Pure.

A subscription begins at a log position, not at a time: `Webhook.since` holds the end offset of every partition when it
was made, and the first change it receives is the first one folded from a record at or after that. So a message that was
sent long ago and arrives now is delivered, nothing from before the subscription is delivered, however often the log is
folded again, and no two clocks are compared. A webhook without `since` receives whatever is queued while it is
subscribed.
"""

from collections.abc import Iterable, Mapping

from airy.bus.record import Position, TopicPartition
from airy.errors import Refused
from airy.model.change import ChangeKind
from airy.model.entity import Webhook
from airy.store.api import StoredChange

NEVER_SENT = frozenset({"metadata.item", "component.updated"})  # accepted for compatibility with the original
KNOWN_EVENTS = frozenset(kind.value for kind in ChangeKind) | NEVER_SENT


def canonical(name: str) -> str:
    """`MESSAGE_CREATED`, `message_created` and `Message.Created` are all `message.created`."""
    return name.strip().lower().replace("_", ".")


def check_events(names: Iterable[str]) -> tuple[str, ...]:
    """Canonical and without duplicates, in the given order. Raises `Refused`, field `events`, for an unknown name."""
    events = tuple(dict.fromkeys(canonical(name) for name in names))
    for event in events:
        if event not in KNOWN_EVENTS:
            known = ", ".join(sorted(KNOWN_EVENTS - NEVER_SENT))
            raise Refused(f"unknown event {event[:64]!r}: use any of {known}", field="events")
    return events


def subscription_start(ends: Mapping[TopicPartition, int]) -> dict[str, tuple[int, ...]]:
    """`Webhook.since` for a subscription made now; the end offsets must be read before its record is written."""
    return {
        topic: tuple(ends[tp] for tp in sorted(ends) if tp.topic == topic)
        for topic in sorted({tp.topic for tp in ends})
    }


def wants(webhook: Webhook, kind: str) -> bool:
    """Whether the webhook is subscribed to this kind of event; checked again before each attempt."""
    if webhook.status != "Subscribed":
        return False
    return not webhook.events or kind in webhook.events or kind in {canonical(name) for name in webhook.events}


class Matcher:
    """The webhooks of one moment, indexed by kind of change."""

    def __init__(self, webhooks: Iterable[Webhook]) -> None:
        self._kinds = {kind.value: [one for one in webhooks if wants(one, kind)] for kind in ChangeKind}

    def recipients(self, published: StoredChange) -> tuple[str, ...]:
        return self.receives(published.change.kind, published.position)

    def receives(self, kind: ChangeKind, position: Position) -> tuple[str, ...]:
        """The webhooks that receive a change of this kind, of the record at `position`."""
        tp, offset = position.topic_partition, position.offset
        return tuple(webhook.id for webhook in self._kinds[kind] if offset >= _since(webhook, tp))


def _since(webhook: Webhook, tp: TopicPartition) -> int:
    ends = webhook.since.get(tp.topic, ())
    return ends[tp.partition] if tp.partition < len(ends) else 0
