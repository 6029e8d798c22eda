"""Which partitions of a store are held: what every engine decides before it applies a record, and what readers check.

A record that is newer than this process holds its partition: it and all later records of the partition are left out,
and the store's position stays before them. Other partitions are not affected.
"""

from collections.abc import Mapping
from typing import Any

from airy.bus.record import Record, TopicPartition
from airy.bus.record_schema import Hold, PartitionHeld, RecordSchema
from airy.bus.topic import Topic


class PartitionHolds:
    """`schemas`: what this process knows, by topic."""

    def __init__(self, schemas: Mapping[str, RecordSchema]) -> None:
        self._schemas = schemas
        self._holds: dict[TopicPartition, Hold] = {}

    def current(self) -> dict[TopicPartition, Hold]:
        return dict(self._holds)

    def passes(self, record: Record) -> bool:
        """Whether the record may be applied; if not, its partition is held from there on."""
        tp = record.topic_partition
        held = self._holds.get(tp)
        if held is not None and record.offset >= held.position.offset:
            return False
        hold = self._schemas[record.topic].hold(record)
        if hold is None:
            return True
        self._holds[tp] = hold
        return False


def hold_of(held: Mapping[TopicPartition, Hold], topic: Topic[Any], key: str | None = None) -> Hold | None:
    """The hold of the partition of `key`, or of any partition of the topic; usually there is none."""
    if not held:
        return None
    number = None if key is None else topic.partition(key)
    found = (hold for tp, hold in held.items() if tp.topic == topic.name and number in (None, tp.partition))
    return next(found, None)


def check_not_held(held: Mapping[TopicPartition, Hold], topic: Topic[Any], key: str | None = None) -> None:
    """Raises `PartitionHeld` while the partition of `key`, or any partition of the topic, is held."""
    hold = hold_of(held, topic, key)
    if hold is not None:
        raise PartitionHeld(hold)
