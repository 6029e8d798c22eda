"""Formats the output of `airy topics …`: a plan as a diff, the list of topics, access lists. Pure."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from airy import acls
from airy.acls import Acl
from airy.bus.provision import TopicPlan, retention
from airy.bus.topic import Topic

Row = tuple[str, ...]

EMPTY = "-"
_COLOURS = {"+": "32", "~": "33", "!": "1;31", "?": "2", "=": "2"}  # by the first character of a line


def plan_lines(plan: TopicPlan) -> list[str]:
    """One line per difference, like a migration, and the number of right topics."""
    rows: list[Row] = [
        (
            "+",
            topic.name,
            "create",
            _count(topic.partitions, "partition"),
            _count(topic.replication, "replica"),
            f"kept: {topic.retention}",
        )
        for topic in plan.create
    ]
    rows += [("~", each.name, "alter", each.key, f"{each.actual or EMPTY} → {each.desired}") for each in plan.alter]
    rows += [("!", each.name, "refuse", each.difference) for each in plan.refuse]
    rows += [("?", name, "unknown", "not a topic of this version: left alone") for name in plan.unknown]
    lines = aligned(rows)
    after = len(plan.create) + len(plan.alter)
    for number, refusal in enumerate(plan.refuse):
        lines.insert(after + 2 * number + 1, f"   → {refusal.remedy}")
    return [*lines, f"=  {len(plan.unchanged)} right{_sum(plan)}"]


def _sum(plan: TopicPlan) -> str:
    sums = {
        "to create": len(plan.create),
        "to alter": len({each.name for each in plan.alter}),
        "refused": len({each.name for each in plan.refuse}),
    }
    return "".join(f", {number} {what}" for what, number in sums.items() if number)


def topic_rows(topics: Iterable[Topic[Any]]) -> list[dict[str, Any]]:
    """The topics as JSON objects."""
    return [
        {
            "name": topic.name,
            "key": topic.key,
            "partitions": topic.partitions,
            "retention": retention(topic),
            "writers": [name for name in acls.ACTORS if acls.writes(name, topic)],
            "readers": [name for name in acls.ACTORS if acls.reads(name, topic)],
        }
        for topic in topics
    ]


def acl_lines(acls: Sequence[Acl]) -> list[str]:
    """A table; one line per principal and resource."""
    rows: list[Row] = [(*key, ", ".join(operations)) for key, operations in _by_resource(acls).items()]
    return aligned([("PRINCIPAL", "RESOURCE", "NAME", "ALLOWED"), *rows])


def acl_commands(acls: Sequence[Acl], bootstrap: Sequence[str]) -> list[str]:
    """Command lines for Kafka's `kafka-acls.sh`."""
    server = ",".join(bootstrap) or "$BOOTSTRAP"
    return [
        f"kafka-acls.sh --bootstrap-server {server} --add --allow-principal {shlex.quote(principal)} "
        + "".join(f"--operation {operation} " for operation in operations)
        + f"--{resource} {shlex.quote(name)}"
        for (principal, resource, name), operations in _by_resource(acls).items()
    ]


def _by_resource(acls: Sequence[Acl]) -> dict[tuple[str, str, str], list[str]]:
    """Operations by principal and resource."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for acl in acls:
        grouped.setdefault((acl.principal, acl.resource, acl.name), []).append(acl.operation)
    return grouped


def aligned(rows: Sequence[Row]) -> list[str]:
    """Pads every column but the last of each row to its widest cell."""
    widths: dict[int, int] = {}
    for row in rows:
        for column, cell in enumerate(row[:-1]):
            widths[column] = max(widths.get(column, 0), len(cell))
    return ["  ".join([*(cell.ljust(widths[column]) for column, cell in enumerate(row[:-1])), row[-1]]) for row in rows]


def coloured(line: str) -> str:
    """A line of a plan, for a terminal."""
    colour = _COLOURS.get(line[:1])
    return f"\x1b[{colour}m{line}\x1b[0m" if colour else line


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
