"""What topics should be like at a cluster, what was found, and the difference: values, decided without asking anyone.

A partition count never changes under keyed records: it decides where a key lives, and so order and ids. Replicas are
moved by the cluster's own tools. Both are refused with what to do; every other setting is created or altered. Names
here are those on the wire, because that is what whoever looks at the cluster sees.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from airy.bus.topic import Retention, Topic

DAY_MS = 86_400_000
TOMBSTONE_MS = 30 * DAY_MS  # a reader that was away for less sees what was deleted
VERSIONS_MS = DAY_MS  # a reader that was away for less sees every version of a key
BATCH_BYTES = 65_536  # what a batch with one record weighs besides the record, with a margin
KEPT = "-1"

_AT_LEAST = {"max.message.bytes", "delete.retention.ms", "min.compaction.lag.ms"}
"""More of these harms nobody."""

_RETENTION: dict[Retention, dict[str, str]] = {
    "kept": {"cleanup.policy": "delete", "retention.ms": KEPT, "retention.bytes": KEPT},
    "compacted": {
        "cleanup.policy": "compact",
        "delete.retention.ms": str(TOMBSTONE_MS),
        "min.compaction.lag.ms": str(VERSIONS_MS),
    },
    "time": {"cleanup.policy": "delete", "retention.bytes": KEPT},
}


class Wanted(Struct, frozen=True, kw_only=True):
    """A topic as it should be."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]
    retention: str  # in words


class Found(Struct, frozen=True, kw_only=True):
    """A topic as it is."""

    name: str
    partitions: int
    replication: int  # of the partition that has fewest
    config: Mapping[str, str]


class Alteration(Struct, frozen=True, kw_only=True):
    name: str
    key: str
    found: str
    wanted: str


class Refusal(Struct, frozen=True, kw_only=True):
    """A difference nothing here can mend."""

    name: str
    what: str
    todo: str


class Plan(Struct, frozen=True, kw_only=True):
    create: tuple[Wanted, ...]
    alter: tuple[Alteration, ...]
    refuse: tuple[Refusal, ...]
    right: tuple[str, ...]
    unknown: tuple[str, ...] = ()  # in our namespace, but not on our page: left alone

    @property
    def empty(self) -> bool:
        return not (self.create or self.alter or self.refuse)


def desired(
    topics: Iterable[Topic[Any]],
    *,
    named: Callable[[str], str],
    replication: int,
    min_in_sync: int,
    record_bytes_max: int,
) -> list[Wanted]:
    always = {
        "min.insync.replicas": str(min_in_sync),
        "max.message.bytes": str(record_bytes_max + BATCH_BYTES),
        "unclean.leader.election.enable": "false",
        "message.timestamp.type": "CreateTime",
        "compression.type": "producer",
    }
    return [
        Wanted(
            name=named(topic.name),
            partitions=topic.partitions,
            replication=replication,
            config=_retained(topic) | always,
            retention=retention(topic),
        )
        for topic in topics
    ]


def retention(topic: Topic[Any]) -> str:
    """How long records stay, in words."""
    if topic.retention == "time":
        days, rest = divmod(topic.retention_ms or 0, DAY_MS)
        return f"{topic.retention_ms} ms" if rest else f"{days} days"
    return {"kept": "for ever", "compacted": "newest of each key"}[topic.retention]


def diff(wanted: Sequence[Wanted], found: Mapping[str, Found], seen: Collection[str] = ()) -> Plan:
    """`found` by name; `seen` are the names of everything that is ours at the cluster."""
    there = [(topic, found[topic.name]) for topic in wanted if topic.name in found]
    refuse = [refusal for topic, is_ in there for refusal in _refusals(topic, is_)]
    alter = [alteration for topic, is_ in there for alteration in _alterations(topic, is_)]
    wrong = {refusal.name for refusal in refuse} | {alteration.name for alteration in alter}
    return Plan(
        create=tuple(topic for topic in wanted if topic.name not in found),
        alter=tuple(alter),
        refuse=tuple(refuse),
        right=tuple(topic.name for topic, _ in there if topic.name not in wrong),
        unknown=tuple(sorted(set(seen) - {topic.name for topic in wanted})),
    )


def ours(names: Iterable[str], topics: Iterable[Topic[Any]], namespace: str) -> list[str]:
    """Of all names at a cluster, those that can only be ours: in our namespace, or, without one, in a family of the
    page (`application.…`, `dlq.…`), where Kafka's own and other owners' are not.
    """
    families = {f"{topic.name.partition('.')[0]}." for topic in topics}
    prefixes = (f"{namespace}.",) if namespace else tuple(families)
    return [name for name in names if name.startswith(prefixes)]


def _retained(topic: Topic[Any]) -> dict[str, str]:
    timed = {"retention.ms": str(topic.retention_ms)} if topic.retention == "time" else {}
    return _RETENTION[topic.retention] | timed | (_soon(topic.versions_ms) if topic.versions_ms else {})


def _soon(versions_ms: int) -> dict[str, str]:
    """For keys that change all the time: what may be compacted is closed as often, for an open segment never is."""
    return {
        "min.compaction.lag.ms": str(versions_ms),
        "segment.ms": str(versions_ms),
        "delete.retention.ms": str(DAY_MS),
    }


def _refusals(wanted: Wanted, found: Found) -> Iterable[Refusal]:
    if found.partitions != wanted.partitions:
        yield Refusal(
            name=wanted.name,
            what=f"has {_count(found.partitions, 'partition')}, must have {wanted.partitions}",
            todo="the count says where a key lives and is never changed: use another bus.kafka.namespace, and move the "
            "log with `airy log export` and `airy log import`; if the topic is empty, delete it and apply again",
        )
    if found.replication != wanted.replication:
        yield Refusal(
            name=wanted.name,
            what=f"has {_count(found.replication, 'replica')}, must have {wanted.replication}",
            todo="move replicas with Kafka's kafka-reassign-partitions.sh, or say so in bus.kafka.replication",
        )


def _alterations(wanted: Wanted, found: Found) -> Iterable[Alteration]:
    for key, value in wanted.config.items():
        is_ = found.config.get(key, "")
        if not _satisfied(key, value, is_):
            yield Alteration(name=wanted.name, key=key, found=is_, wanted=value)


def _satisfied(key: str, wanted: str, found: str) -> bool:
    if key in _AT_LEAST and found.isdecimal():
        return int(found) >= int(wanted)
    return found == wanted


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
