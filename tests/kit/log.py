"""A log in memory for those who read one: gives records their offsets, as a bus would, and keeps them."""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, TypeVar

from airy import topics
from airy.bus.record import Emit, Record, TopicPartition
from airy.bus.topic import Topic
from airy.model.dead import DeadDelivery
from airy.model.entity import Channel, Tag, Template, Webhook
from airy.model.fact import Fact

V = TypeVar("V")
Entity = Channel | Tag | Template | Webhook | DeadDelivery

_TOPICS: dict[type, Topic[Any]] = {topic.value_type: topic for topic in topics.FOLDED}  # type: ignore[misc]


class Log:
    """`gap` offsets are left out before every record, as transactions and compaction do."""

    def __init__(self, *, gap: int = 0) -> None:
        self.records: list[Record] = []
        self._ends: dict[TopicPartition, int] = {}
        self._gap = gap

    def append(self, *noted: Fact | Entity) -> list[Record]:
        """Records of facts and entities, in their topics."""
        return [self.emit(_emit(one)) for one in noted]

    def remove(self, topic: Topic[V], entity_id: str) -> Record:
        return self.emit(topic.emit(entity_id, None))

    def raw(self, topic: Topic[V], key: str, value: bytes | None) -> Record:
        """Whatever bytes somebody wrote."""
        return self.emit(Emit(topic.name, topic.partition(key), key.encode(), value))

    def traced(self, fact: Fact, trace: str) -> Record:
        """A fact written under a `traceparent`."""
        return self.emit(topics.EVENTS.emit(fact.conversation_id, fact, headers=(("traceparent", trace.encode()),)))

    def emit(self, emit: Emit) -> Record:
        where = TopicPartition(emit.topic, emit.partition)
        offset = self._ends.get(where, 0) + self._gap
        self._ends[where] = offset + 1
        record = Record(emit.topic, emit.partition, offset, emit.key, emit.value, emit.headers, 0)
        self.records.append(record)
        return record

    def interleaved(self, random: Random) -> list[Record]:
        """The same partitions, read in another order."""
        lanes: dict[TopicPartition, list[Record]] = {}
        for record in reversed(self.records):
            lanes.setdefault(record.where, []).append(record)
        mixed: list[Record] = []
        while lanes:
            where = random.choice(sorted(lanes))
            mixed.append(lanes[where].pop())
            if not lanes[where]:
                del lanes[where]
        return mixed


def cut(records: Sequence[Record], random: Random, *, longest: int = 40) -> Iterable[Sequence[Record]]:
    """Batches of random sizes."""
    start = 0
    while start < len(records):
        end = start + random.randint(1, longest)
        yield records[start:end]
        start = end


def _emit(noted: Fact | Entity) -> Emit:
    topic = _TOPICS.get(type(noted))
    if topic is not None:
        return topic.emit(noted.id, noted)
    return topics.EVENTS.emit(noted.conversation_id, noted)  # type: ignore[arg-type, union-attr]  # not an entity: a fact
