"""Compares the topics a cluster should have with those it has. Pure.

The partition count of a topic with keyed records never changes: it decides in which partition a key is, and so order
and ids. Replicas are moved with Kafka's own tools. Both differences are reported with a remedy; every other setting is
created or altered. Names are those on the wire, as Kafka's tools show them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from airy.bus.topic import Retention, Topic

DAY_MS = 86_400_000
TOMBSTONE_MS = 30 * DAY_MS  # a reader that was stopped for less sees every deletion
VERSIONS_MS = DAY_MS  # a reader that was stopped for less sees every version of a key
BATCH_BYTES = 65_536  # overhead of a batch with one record, rounded up
KEPT = "-1"

_AT_LEAST = {"max.message.bytes", "delete.retention.ms", "min.compaction.lag.ms"}
"""Settings for which a larger value is accepted."""

_RETENTION: dict[Retention, dict[str, str]] = {
    "kept": {"cleanup.policy": "delete", "retention.ms": KEPT, "retention.bytes": KEPT},
    "compacted": {
        "cleanup.policy": "compact",
        "delete.retention.ms": str(TOMBSTONE_MS),
        "min.compaction.lag.ms": str(VERSIONS_MS),
    },
    "time": {"cleanup.policy": "delete", "retention.bytes": KEPT},
}


class DesiredTopic(Struct, frozen=True, kw_only=True):
    """A topic as declared."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]
    retention: str  # for people


class ActualTopic(Struct, frozen=True, kw_only=True):
    """A topic as the cluster has it."""

    name: str
    partitions: int
    replication: int  # of the partition with the fewest
    config: Mapping[str, str]


class ConfigChange(Struct, frozen=True, kw_only=True):
    """A setting that is altered."""

    name: str
    key: str
    actual: str
    desired: str


class ManualChange(Struct, frozen=True, kw_only=True):
    """A difference an operator has to resolve."""

    name: str
    difference: str
    remedy: str


class TopicPlan(Struct, frozen=True, kw_only=True):
    create: tuple[DesiredTopic, ...]
    alter: tuple[ConfigChange, ...]
    refuse: tuple[ManualChange, ...]
    unchanged: tuple[str, ...]
    unknown: tuple[str, ...] = ()  # in our namespace but not declared: left alone

    @property
    def empty(self) -> bool:
        return not (self.create or self.alter or self.refuse)


def desired_topics(
    topics: Iterable[Topic[Any]],
    *,
    wire_name: Callable[[str], str],
    replication: int,
    min_in_sync: int,
    record_bytes_max: int,
) -> list[DesiredTopic]:
    always = {
        "min.insync.replicas": str(min_in_sync),
        "max.message.bytes": str(record_bytes_max + BATCH_BYTES),
        "unclean.leader.election.enable": "false",
        "message.timestamp.type": "CreateTime",
        "compression.type": "producer",
    }
    return [
        DesiredTopic(
            name=wire_name(topic.name),
            partitions=topic.partitions,
            replication=replication,
            config=_retention_config(topic) | always,
            retention=retention(topic),
        )
        for topic in topics
    ]


def retention(topic: Topic[Any]) -> str:
    """How long records stay, for people."""
    if topic.retention == "time":
        days, rest = divmod(topic.retention_ms or 0, DAY_MS)
        return f"{topic.retention_ms} ms" if rest else f"{days} days"
    return {"kept": "for ever", "compacted": "newest of each key"}[topic.retention]


def plan_topics(
    desired: Sequence[DesiredTopic], actual: Mapping[str, ActualTopic], owned: Collection[str] = ()
) -> TopicPlan:
    """`actual` by name; `owned` are the names of all our topics at the cluster."""
    existing = [(topic, actual[topic.name]) for topic in desired if topic.name in actual]
    refuse = [change for topic, found in existing for change in _manual_changes(topic, found)]
    alter = [change for topic, found in existing for change in _config_changes(topic, found)]
    different = {change.name for change in refuse} | {change.name for change in alter}
    return TopicPlan(
        create=tuple(topic for topic in desired if topic.name not in actual),
        alter=tuple(alter),
        refuse=tuple(refuse),
        unchanged=tuple(topic.name for topic, _ in existing if topic.name not in different),
        unknown=tuple(sorted(set(owned) - {topic.name for topic in desired})),
    )


def owned_topics(names: Iterable[str], topics: Iterable[Topic[Any]], namespace: str) -> list[str]:
    """Names of a cluster that can only be ours: those in our namespace or, without one, those with the first part of a
    declared name (`application.…`, `dlq.…`).
    """
    prefixes = {f"{topic.name.partition('.')[0]}." for topic in topics}
    known = (f"{namespace}.",) if namespace else tuple(prefixes)
    return [name for name in names if name.startswith(known)]


def _retention_config(topic: Topic[Any]) -> dict[str, str]:
    timed = {"retention.ms": str(topic.retention_ms)} if topic.retention == "time" else {}
    return _RETENTION[topic.retention] | timed | (_short_segments(topic.versions_ms) if topic.versions_ms else {})


def _short_segments(versions_ms: int) -> dict[str, str]:
    """For keys that change often. Only closed segments are compacted, so segments are closed as often."""
    return {
        "min.compaction.lag.ms": str(versions_ms),
        "segment.ms": str(versions_ms),
        "delete.retention.ms": str(DAY_MS),
    }


def _manual_changes(desired: DesiredTopic, actual: ActualTopic) -> Iterable[ManualChange]:
    if actual.partitions != desired.partitions:
        yield ManualChange(
            name=desired.name,
            difference=f"has {_count(actual.partitions, 'partition')}, must have {desired.partitions}",
            remedy="the count decides the partition of a key and is never changed: use another bus.kafka.namespace, "
            "and move the log with `airy log export` and `airy log import`; if the topic is empty, delete it and apply "
            "again",
        )
    if actual.replication != desired.replication:
        yield ManualChange(
            name=desired.name,
            difference=f"has {_count(actual.replication, 'replica')}, must have {desired.replication}",
            remedy="move replicas with Kafka's kafka-reassign-partitions.sh, or set bus.kafka.replication",
        )


def _config_changes(desired: DesiredTopic, actual: ActualTopic) -> Iterable[ConfigChange]:
    for key, value in desired.config.items():
        found = actual.config.get(key, "")
        if not _satisfied(key, value, found):
            yield ConfigChange(name=desired.name, key=key, actual=found, desired=value)


def _satisfied(key: str, desired: str, actual: str) -> bool:
    if key in _AT_LEAST and actual.isdecimal():
        return int(actual) >= int(desired)
    return actual == desired


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
