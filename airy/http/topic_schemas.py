"""Schemas of what `/topics.*` answers."""

from typing import Any, Literal

from msgspec import Struct

from airy.http.response_schemas import RecordHeaderSchema


class OffsetSpanSchema(Struct, forbid_unknown_fields=True):
    partition: int
    begin: int  # the first readable offset
    end: int  # the next offset to be written


class PartitionStateSchema(OffsetSpanSchema, forbid_unknown_fields=True):
    records: int | None  # at most; null: they are too many to count


class PartitionLagSchema(Struct, forbid_unknown_fields=True):
    partition: int
    position: int  # the next offset the group reads
    lag: int | None  # at most so many records from there on; null: not known
    age_s: float | None  # of the first of them; null: not known


class GroupLagSchema(Struct, forbid_unknown_fields=True):
    group: str
    component: str
    lag: int | None  # at most so many records to commit; null: nothing is committed
    age_s: float | None  # of the oldest record that is not committed; null: not known
    partitions: list[PartitionLagSchema]  # those in which the group has committed something


class TopicSchema(Struct, forbid_unknown_fields=True):
    name: str
    key: str  # what the key of a record is
    records: int  # at most: compaction may have removed some
    cleanup_policy: Literal["delete", "compact"]
    retention: str
    retention_ms: int | None  # null: without limit
    partitions: list[PartitionStateSchema]
    groups: list[GroupLagSchema]
    writers: list[str]  # components
    readers: list[str]


class LogRecordSchema(Struct, forbid_unknown_fields=True):
    topic: str
    partition: int
    offset: int
    time: str
    key: str
    headers: list[RecordHeaderSchema]
    size_bytes: int  # of key and value
    encoding: Literal["json", "text", "base64", "none", "withheld"]  # none: a tombstone
    value: Any
    cut: bool  # the value is longer than what is shown
    masked: bool  # secrets were masked


class RecordNeighboursSchema(Struct, forbid_unknown_fields=True):
    older: dict[str, int] | None  # `positions` of the page of older records; null: there are none
    newer: dict[str, int]
    at_end: bool  # there are no newer records yet
    complete: bool  # false: the search ended at its limit; the neighbouring page goes on


class RecordPageSchema(Struct, forbid_unknown_fields=True):
    data: list[LogRecordSchema]
    partitions: list[OffsetSpanSchema]
    pagination_data: RecordNeighboursSchema
