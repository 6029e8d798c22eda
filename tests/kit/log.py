"""A log in memory for tests of readers: assigns offsets, as a bus does, and keeps the records."""

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from airy import topics
from airy.bus.record import Headers, ProducerRecord, Record, TopicPartition
from airy.bus.topic import Topic
from airy.model.contact import KEY as CONTACTS_KEY
from airy.model.contact import ContactsWritten, ContactWrite
from airy.model.dead_delivery import DeadDelivery
from airy.model.entity import ApiToken, Channel, CustomSource, Tag, Template, User, Webhook
from airy.model.fact import Fact
from airy.model.fold_entity import BASE_HEADER

V = TypeVar("V")
Entity = ApiToken | Channel | CustomSource | Tag | Template | User | Webhook | DeadDelivery

_TOPICS: dict[type, Topic[Any]] = {topic.value_type: topic for topic in topics.FOLDED}  # type: ignore[misc]


class Log:
    """Skips `gap` offsets before every record, as transactions and compaction do."""

    def __init__(self, *, gap: int = 0) -> None:
        self.records: list[Record] = []
        self._ends: dict[TopicPartition, int] = {}
        self._gap = gap

    def append(self, *noted: Fact | Entity) -> list[Record]:
        """Records of facts and entities, in their topics."""
        return [self.append_record(_record_of(one)) for one in noted]

    def remove(self, topic: Topic[V], entity_id: str) -> Record:
        return self.append_record(topic.record(entity_id, None))

    def written(self, entity: Entity, *, base: int, write_id: str) -> Record:
        """A write of an entity, made on version `base`."""
        return self.append_record(_TOPICS[type(entity)].record(entity.id, entity, headers=_write(base, write_id)))

    def deleted(self, topic: Topic[V], entity_id: str, *, base: int, write_id: str) -> Record:
        """A deletion of an entity, made on version `base`."""
        return self.append_record(topic.record(entity_id, None, headers=_write(base, write_id)))

    def contacts(
        self, *writes: ContactWrite, write_id: str = "w", at_ms: int = 0, covered: Mapping[str, int] = {}
    ) -> Record:
        """One record that writes contacts."""
        written = ContactsWritten(id=write_id, at_ms=at_ms, writes=writes, covered=dict(covered))
        return self.append_record(topics.CONTACTS.record(CONTACTS_KEY, written))

    def raw(self, topic: Topic[V], key: str, value: bytes | None) -> Record:
        """A record of arbitrary bytes."""
        return self.append_record(ProducerRecord(topic.name, topic.partition(key), key.encode(), value))

    def traced(self, fact: Fact, trace: str) -> Record:
        """A fact written under a `traceparent`."""
        return self.append_record(
            topics.EVENTS.record(fact.conversation_id, fact, headers=(("traceparent", trace.encode()),))
        )

    def append_record(self, written: ProducerRecord) -> Record:
        tp = TopicPartition(written.topic, written.partition)
        offset = self._ends.get(tp, 0) + self._gap
        self._ends[tp] = offset + 1
        record = Record(written.topic, written.partition, offset, written.key, written.value, written.headers, 0)
        self.records.append(record)
        return record

    def interleaved(self, random: Random) -> list[Record]:
        """The same partitions, read in another order."""
        lanes: dict[TopicPartition, list[Record]] = {}
        for record in reversed(self.records):
            lanes.setdefault(record.topic_partition, []).append(record)
        mixed: list[Record] = []
        while lanes:
            tp = random.choice(sorted(lanes))
            mixed.append(lanes[tp].pop())
            if not lanes[tp]:
                del lanes[tp]
        return mixed


def cut(records: Sequence[Record], random: Random, *, longest: int = 40) -> Iterable[Sequence[Record]]:
    """Batches of random sizes."""
    start = 0
    while start < len(records):
        end = start + random.randint(1, longest)
        yield records[start:end]
        start = end


def _write(base: int, write_id: str) -> Headers:
    return (("id", write_id.encode()), (BASE_HEADER, b"%d" % base))


def _record_of(noted: Fact | Entity) -> ProducerRecord:
    topic = _TOPICS.get(type(noted))
    if topic is not None:
        return topic.record(noted.id, noted)
    return topics.EVENTS.record(noted.conversation_id, noted)  # type: ignore[arg-type, union-attr]  # not an entity: a fact
