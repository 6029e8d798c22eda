"""Who may do what to the log, on one page: which component has which actors, and which consumer groups those join.

With the writers and readers of `airy.topics` this is all a broker's access list has to hold. Every process looks at the
topics it uses before it starts (`DescribeConfigs`), and its producer is idempotent, which wants no more than `Write`.
Not here: who makes topics and access lists. That is an operator, with a user no component has.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal

from msgspec import Struct

from airy import topics
from airy.bus.topic import Topic

EVERYWHERE = ("store", "announcer")
"""Whatever a process runs, it folds the log and says how it is."""

ACTORS: dict[str, tuple[str, ...]] = {  # component: its actors that touch the log
    "http": (),
    "api-communication": ("commands",),
    "api-admin": ("commands", "roll"),
    **{f"sources-{source}": ("ingress", "router", "unpark", "connector", "commands") for source in topics.SOURCES},
    "webhook-publisher": ("publisher",),
    "webhook-consumer": ("dispatcher",),
}
GROUPS = {  # component/actor: the consumer group it joins
    **{
        f"sources-{source}/{actor}": f"sources.{source}.{actor}"
        for source in topics.SOURCES
        for actor in ("router", "unpark", "connector")
    },
    "webhook-publisher/publisher": "webhook-publisher",
}
PRINCIPAL = "User:airy-"

Operation = Literal["Read", "Write", "Describe", "DescribeConfigs"]


class Acl(Struct, frozen=True, order=True):
    """One line of an access list: who may do what to which topic or group. Names are those on the wire."""

    principal: str
    resource: Literal["topic", "group"]
    name: str
    operation: Operation


def actors(component: str) -> tuple[str, ...]:
    return (*EVERYWHERE, *ACTORS[component])


def writes(component: str, topic: Topic[Any]) -> bool:
    return _has(component, topic.writers)


def reads(component: str, topic: Topic[Any]) -> bool:
    return _has(component, topic.readers)


def groups(component: str) -> tuple[str, ...]:
    mine = (f"{component}/{actor}" for actor in actors(component))
    return tuple(GROUPS[name] for name in mine if name in GROUPS)


def used(components: Iterable[str]) -> tuple[Topic[Any], ...]:
    """The topics a process with these components reads or writes: those it must find as they should be."""
    running = list(components)
    return tuple(topic for topic in topics.ALL if any(reads(name, topic) or writes(name, topic) for name in running))


def acls(component: str, *, named: Callable[[str], str], principal: str) -> list[Acl]:
    """The least a component needs. `named` makes a name the one on the wire."""
    lines = [
        Acl(principal, "topic", named(topic.name), operation)
        for topic in used([component])
        for operation in _operations(reads(component, topic), writes(component, topic))
    ]
    return lines + [Acl(principal, "group", named(group), "Read") for group in groups(component)]


def _operations(reading: bool, writing: bool) -> Iterable[Operation]:
    """`Read` and `Write` imply `Describe` at Kafka's own authorizer; others are told."""
    if reading:
        yield "Read"
    if writing:
        yield "Write"
    yield from ("Describe", "DescribeConfigs")


def _has(component: str, named: Iterable[str]) -> bool:
    mine = actors(component)
    return any(name in mine or name.partition("/")[::2] in {(component, actor) for actor in mine} for name in named)
