"""Topics of the log, and their records."""

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
