"""The access lists of every component: its actors that use the log, their topics, and their consumer groups.

Together with the writers and readers in `airy.topics` this is everything a broker's ACLs need. Every process describes
the topics it uses before it starts (`DescribeConfigs`); an idempotent producer needs no more than `Write`. Creating
topics and ACLs is left to an operator's user, which no component has.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from airy import components, topics
from airy.bus.topic import Topic

COMMON_ACTORS = ("store", "heartbeat", "log-publisher")
"""Actors of every process, whatever its components."""

ACTORS = {component.id: component.actors for component in components.ALL}
GROUPS = {  # component/actor: the consumer group it joins
    f"{component.id}/{group.actor}": group.name for component in components.ALL for group in component.groups
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


def described_groups(component: str) -> tuple[str, ...]:
    """Groups of other components whose committed offsets this one asks for."""
    if topics.BROWSER not in actors(component):
        return ()
    return tuple(sorted({*GROUPS.values()} - {*groups(component)}))


def committing_groups(running: Collection[str]) -> Mapping[str, Sequence[Topic[Any]]]:
    """Consumer groups of these components that commit offsets, with their topics; a connector's group commits none."""
    return {
        group.name: group.commits
        for component in components.ALL
        if component.id in running
        for group in component.groups
        if group.commits
    }


def used(running: Iterable[str]) -> tuple[Topic[Any], ...]:
    """The topics a process with these components reads or writes, and therefore verifies at its start."""
    names = list(running)
    return tuple(topic for topic in topics.ALL if any(reads(name, topic) or writes(name, topic) for name in names))


def required_acls(component: str, *, wire_name: Callable[[str], str], principal: str) -> list[Acl]:
    """The minimal access list of a component. `wire_name` adds the namespace to a name."""
    lines = [
        Acl(principal, "topic", wire_name(topic.name), operation)
        for topic in used([component])
        for operation in _operations(reads(component, topic), writes(component, topic))
    ]
    lines += [Acl(principal, "group", wire_name(group), "Read") for group in groups(component)]
    return lines + [Acl(principal, "group", wire_name(group), "Describe") for group in described_groups(component)]


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
