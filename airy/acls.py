"""The access lists of every component: its actors that use the log, their topics, and their consumer groups.

Together with the writers and readers in `airy.topics` this is everything a broker's ACLs need. Every process describes
the topics it uses before it starts (`DescribeConfigs`); an idempotent producer needs no more than `Write`. Creating
topics and ACLs is left to an operator's user, which no component has.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from airy import change_readers, topics
from airy.bus.topic import Topic

COMMON_ACTORS = ("store", "heartbeat")
"""Actors of every process, whatever its components."""

ACTORS: dict[str, tuple[str, ...]] = {  # component: its actors that use the log
    "http": (),
    "api-communication": ("commands",),
    "api-admin": ("commands", "process-registry", "dead-letters"),
    **{
        f"sources-{source}": ("ingress", "router", "parked-replayer", "connector", "commands")
        for source in topics.SOURCES
    },
    "webhook-publisher": ("publisher",),
    "webhook-consumer": ("dispatcher",),
}
SOURCE_GROUPS = {
    "router": "router",
    "parked-replayer": "unpark",
    "connector": "connector",
}  # actor: suffix of its group
GROUPS = {  # component/actor: the consumer group it joins
    **{
        f"sources-{source}/{actor}": f"sources.{source}.{suffix}"
        for source in topics.SOURCES
        for actor, suffix in SOURCE_GROUPS.items()
    },
    **{f"{reader.component}/{reader.actor}": reader.group for reader in change_readers.ALL},
}
PRINCIPAL = "User:airy-"

Operation = Literal["Read", "Write", "Describe", "DescribeConfigs"]


class Acl(Struct, frozen=True, order=True):
    """An allowed operation of a principal on a topic or group. Names are those on the wire."""

    principal: str
    resource: Literal["topic", "group"]
    name: str
    operation: Operation


def actors(component: str) -> tuple[str, ...]:
    return (*COMMON_ACTORS, *ACTORS[component])


def writes(component: str, topic: Topic[Any]) -> bool:
    return _has(component, topic.writers)


def reads(component: str, topic: Topic[Any]) -> bool:
    return _has(component, topic.readers)


def groups(component: str) -> tuple[str, ...]:
    names = (f"{component}/{actor}" for actor in actors(component))
    return tuple(GROUPS[name] for name in names if name in GROUPS)


def committing_groups(components: Collection[str]) -> Mapping[str, Sequence[Topic[Any]]]:
    """Consumer groups of these components that commit offsets, with their topics; a connector's group commits none."""
    found: dict[str, Sequence[Topic[Any]]] = {}
    for source in topics.SOURCES:
        component = f"sources-{source}"
        if component in components:
            found[GROUPS[f"{component}/router"]] = (topics.source_events(source),)
            found[GROUPS[f"{component}/parked-replayer"]] = (topics.CHANNELS,)
    return found | {reader.group: reader.topics for reader in change_readers.of_components(components)}


def used(components: Iterable[str]) -> tuple[Topic[Any], ...]:
    """The topics a process with these components reads or writes, and therefore verifies at its start."""
    running = list(components)
    return tuple(topic for topic in topics.ALL if any(reads(name, topic) or writes(name, topic) for name in running))


def required_acls(component: str, *, wire_name: Callable[[str], str], principal: str) -> list[Acl]:
    """The minimal access list of a component. `wire_name` adds the namespace to a name."""
    lines = [
        Acl(principal, "topic", wire_name(topic.name), operation)
        for topic in used([component])
        for operation in _operations(reads(component, topic), writes(component, topic))
    ]
    return lines + [Acl(principal, "group", wire_name(group), "Read") for group in groups(component)]


def _operations(reading: bool, writing: bool) -> Iterable[Operation]:
    """`Describe` is explicit: Kafka's own authorizer derives it from `Read` and `Write`, others do not."""
    if reading:
        yield "Read"
    if writing:
        yield "Write"
    yield from ("Describe", "DescribeConfigs")


def _has(component: str, names: Iterable[str]) -> bool:
    own = actors(component)
    return any(name in own or name.partition("/")[::2] in {(component, actor) for actor in own} for name in names)
