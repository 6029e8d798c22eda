"""Topics of the log, and their records."""

from collections.abc import Sequence

from msgspec import Struct

from airy.acls import ACTORS, Acl
from airy.app.topic_admin import TopicChange
from airy.bus.provision import TopicPlan
from airy.cli.view import Document, Field, View
from airy.http.topic_schemas import LogRecordSchema, TopicSchema

VALUE_CHARS_MAX = 200


def _most_behind(topic: Document) -> Document:
    groups = [group for group in topic["groups"] if group["lag"] is not None]
    return max(groups, key=lambda group: group["lag"], default={})


def _value(record: Document) -> object:
    return {"none": "(tombstone)", "withheld": "(withheld)"}.get(record["encoding"], record["value"])


TOPICS = View(
    name="topics",
    row=TopicSchema,
    fields=(
        Field("TOPIC", "name"),
        Field("PARTITIONS", lambda row: len(row["partitions"]), align="right"),
        Field("RECORDS", "records", align="right"),
        Field("KEPT", "retention"),
        Field("LAG", lambda row: _most_behind(row).get("lag"), align="right"),
        Field("AGE S", lambda row: _most_behind(row).get("age_s"), align="right"),
        Field("GROUP MOST BEHIND", lambda row: _most_behind(row).get("group")),
    ),
    what="topics",
)


class TopicPartitionRow(Struct, forbid_unknown_fields=True):
    """A partition, and a group that has committed something in it; null, if there is none."""

    topic: str
    partition: int
    begin: int
    end: int
    records: int | None
    group: str | None
    position: int | None
    lag: int | None
    age_s: float | None


def partition_rows(topic: Document) -> Sequence[Document]:
    """By partition and group, of a topic as the API gives it."""
    found: list[Document] = []
    for span in topic["partitions"]:
        place = {"topic": topic["name"], **span}
        groups = [
            {**place, "group": group["group"], **lag}
            for group in topic["groups"]
            for lag in group["partitions"]
            if lag["partition"] == span["partition"]
        ]
        found += groups or [{**place, "group": None, "position": None, "lag": None, "age_s": None}]
    return found


TOPIC_PARTITIONS = View(
    name="topic-partitions",
    row=TopicPartitionRow,
    fields=(
        Field("TOPIC", "topic"),
        Field("PARTITION", "partition", align="right"),
        Field("BEGIN", "begin", align="right"),
        Field("END", "end", align="right"),
        Field("RECORDS", "records", align="right"),
        Field("GROUP", "group"),
        Field("POSITION", "position", align="right"),
        Field("LAG", "lag", align="right"),
        Field("AGE S", "age_s", align="right"),
    ),
    what="partitions",
)
RECORDS = View(
    name="log-records",
    row=LogRecordSchema,
    fields=(
        Field("TIME", "time"),
        Field("PARTITION", "partition", align="right"),
        Field("OFFSET", "offset", align="right"),
        Field("KEY", "key", chars_max=40),
        Field("BYTES", "size_bytes", align="right"),
        Field("VALUE", _value, chars_max=VALUE_CHARS_MAX),
    ),
    what="records",
)


class DeclaredTopicRow(Struct, forbid_unknown_fields=True):
    name: str
    key: str
    partitions: int
    retention: str
    writers: list[str]
    readers: list[str]


def _readers(topic: Document) -> object:
    return "every component" if len(topic["readers"]) == len(ACTORS) else topic["readers"]


DECLARED_TOPICS = View(
    name="declared-topics",
    row=DeclaredTopicRow,
    fields=(
        Field("TOPIC", "name"),
        Field("KEY", "key"),
        Field("PARTITIONS", "partitions", align="right"),
        Field("KEPT", "retention"),
        Field("WRITTEN BY", "writers"),
        Field("READ BY", _readers),
    ),
    what="topics",
)
TOPIC_PLAN = View(name="topic-plan", row=TopicPlan, fields=(), one=True)
TOPIC_CHANGES = View(
    name="topic-changes",
    row=TopicChange,
    fields=(
        Field("TOPIC", "name"),
        Field("RESULT", "result", styles={"created": "green", "altered": "yellow"}),
        Field("PARTITIONS", "partitions", align="right"),
        Field("SETTINGS", "settings"),
    ),
    what="changes",
)
ACLS = View(
    name="acls",
    row=Acl,
    fields=(
        Field("PRINCIPAL", "principal"),
        Field("RESOURCE", "resource"),
        Field("NAME", "name"),
        Field("ALLOWED", "operation"),
    ),
    what="ACLs",
)
