"""What the commands about topics print: a plan as a diff, the page of topics, access lists. Values in, lines out."""

import os
import shlex
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from airy import access
from airy.access import Acl
from airy.bus.provision import Plan, retention
from airy.bus.topic import Topic

Row = tuple[str, ...]

NOBODY = "-"
_COLOURS = {"+": "32", "~": "33", "!": "1;31", "?": "2", "=": "2"}  # by the sign a line begins with


def plan_lines(plan: Plan) -> list[str]:
    """One line a difference, like a migration's, and the sum of what is right."""
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
    rows += [("~", each.name, "alter", each.key, f"{each.found or NOBODY} → {each.wanted}") for each in plan.alter]
    rows += [("!", each.name, "refuse", each.what) for each in plan.refuse]
    rows += [("?", name, "unknown", "not a topic of this version: left alone") for name in plan.unknown]
    lines = aligned(rows)
    after = len(plan.create) + len(plan.alter)
    for number, refusal in enumerate(plan.refuse):
        lines.insert(after + 2 * number + 1, f"   → {refusal.todo}")
    return [*lines, f"=  {len(plan.right)} right{_sum(plan)}"]


def _sum(plan: Plan) -> str:
    sums = {
        "to create": len(plan.create),
        "to alter": len({each.name for each in plan.alter}),
        "refused": len({each.name for each in plan.refuse}),
    }
    return "".join(f", {number} {what}" for what, number in sums.items() if number)


def topic_rows(topics: Iterable[Topic[Any]]) -> list[dict[str, Any]]:
    """The page of topics for programs."""
    return [
        {
            "name": topic.name,
            "key": topic.key,
            "partitions": topic.partitions,
            "retention": retention(topic),
            "writers": [name for name in access.ACTORS if access.writes(name, topic)],
            "readers": [name for name in access.ACTORS if access.reads(name, topic)],
        }
        for topic in topics
    ]


def topic_lines(topics: Iterable[Topic[Any]]) -> list[str]:
    rows: list[Row] = [
        (
            row["name"],
            row["key"],
            str(row["partitions"]),
            row["retention"],
            _names(row["writers"]),
            _names(row["readers"]),
        )
        for row in topic_rows(topics)
    ]
    return aligned([("TOPIC", "KEY", "PARTITIONS", "KEPT", "WRITTEN BY", "READ BY"), *rows])


def acl_lines(acls: Sequence[Acl]) -> list[str]:
    """A table with all operations of a principal on one thing in one line."""
    rows: list[Row] = [(*key, ", ".join(operations)) for key, operations in _together(acls).items()]
    return aligned([("PRINCIPAL", "RESOURCE", "NAME", "ALLOWED"), *rows])


def acl_commands(acls: Sequence[Acl], bootstrap: Sequence[str]) -> list[str]:
    """The same as command lines of Kafka's own tool."""
    server = ",".join(bootstrap) or "$BOOTSTRAP"
    return [
        f"kafka-acls.sh --bootstrap-server {server} --add --allow-principal {shlex.quote(principal)} "
        + "".join(f"--operation {operation} " for operation in operations)
        + f"--{resource} {shlex.quote(name)}"
        for (principal, resource, name), operations in _together(acls).items()
    ]


def _together(acls: Sequence[Acl]) -> dict[tuple[str, str, str], list[str]]:
    """All operations of a principal on one thing."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for acl in acls:
        together.setdefault((acl.principal, acl.resource, acl.name), []).append(acl.operation)
    return together


def aligned(rows: Sequence[Row]) -> list[str]:
    """Columns as wide as their widest cell; the last one of a row may be as long as it likes."""
    widths: dict[int, int] = {}
    for row in rows:
        for column, cell in enumerate(row[:-1]):
            widths[column] = max(widths.get(column, 0), len(cell))
    return ["  ".join([*(cell.ljust(widths[column]) for column, cell in enumerate(row[:-1])), row[-1]]) for row in rows]


def write(lines: Iterable[str], out: TextIO) -> None:
    """In colours, where a person looks who does not mind them."""
    coloured = out.isatty() and "NO_COLOR" not in os.environ
    out.write("".join(f"{_coloured(line) if coloured else line}\n" for line in lines))
    out.flush()


def _coloured(line: str) -> str:
    colour = _COLOURS.get(line[:1])
    return f"\x1b[{colour}m{line}\x1b[0m" if colour else line


def _names(components: Sequence[str]) -> str:
    everybody = list(components) == list(access.ACTORS)
    return "every component" if everybody else ", ".join(components) or NOBODY


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
