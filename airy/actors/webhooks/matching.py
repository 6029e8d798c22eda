"""Which webhooks a change goes to. Pure.

A subscription begins at a place in the log, not at a time: `Webhook.since` holds the end of every
partition when it was made, and the first change it gets is the first one folded from a record at or after
that. So a message that was sent long ago and reaches us now is delivered, nothing from before the
subscription is, however often history is folded again, and no two clocks are compared. A webhook without
`since` gets whatever is queued while it is subscribed.
"""

from collections.abc import Iterable, Mapping

from airy.bus.record import TopicPartition
from airy.errors import Refused
from airy.model.change import ChangeKind
from airy.model.entity import Webhook
from airy.store.api import Published

NEVER_SENT = frozenset({"metadata.item", "component.updated"})  # accepted because the original accepted them
KNOWN = frozenset(kind.value for kind in ChangeKind) | NEVER_SENT


def canonical(name: str) -> str:
    """`MESSAGE_CREATED`, `message_created` and `Message.Created` are all `message.created`."""
    return name.strip().lower().replace("_", ".")


def check_events(names: Iterable[str]) -> tuple[str, ...]:
    """Canonical, each once, in the given order. Raises `Refused`, field `events`, for a name nobody knows."""
    events = tuple(dict.fromkeys(canonical(name) for name in names))
    for event in events:
        if event not in KNOWN:
            known = ", ".join(sorted(KNOWN - NEVER_SENT))
            raise Refused(f"unknown event {event[:64]!r}: use any of {known}", field="events")
    return events


def subscribed_from(ends: Mapping[TopicPartition, int]) -> dict[str, tuple[int, ...]]:
    """`Webhook.since` for a subscription made now; the ends must be read before its record is written."""
    return {
        topic: tuple(ends[where] for where in sorted(ends) if where.topic == topic)
        for topic in sorted({where.topic for where in ends})
    }


def wants(webhook: Webhook, kind: str) -> bool:
    """Whether it is subscribed to this kind of event now; asked again before each attempt."""
    if webhook.status != "Subscribed":
        return False
    return not webhook.events or kind in webhook.events or kind in {canonical(name) for name in webhook.events}


class Matcher:
    """The webhooks of one moment, ready to be asked many times."""

    def __init__(self, webhooks: Iterable[Webhook]) -> None:
        self._kinds = {kind.value: [one for one in webhooks if wants(one, kind)] for kind in ChangeKind}

    def recipients(self, published: Published) -> tuple[str, ...]:
        where, offset = published.position.where, published.position.offset
        return tuple(webhook.id for webhook in self._kinds[published.change.kind] if offset >= _since(webhook, where))


def _since(webhook: Webhook, where: TopicPartition) -> int:
    ends = webhook.since.get(where.topic, ())
    return ends[where.partition] if where.partition < len(ends) else 0
