"""What the view of topics shows, from what the API says, and what its user asks for. Pure."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import asdict

from airy.tui.view_model import clean

AGE_WARN_S = 10.0
AGE_BAD_S = 60.0
PREVIEW_CHARS_MAX = 400
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_BACK = re.compile(r"-?(\d{1,6})\s*([smhd])")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


class ListedSpan(Struct, frozen=True):
    """The offsets of a partition."""

    partition: int
    begin: int
    end: int


class ListedPartition(ListedSpan, frozen=True):
    """`records` is None where they are too many to count."""

    records: int | None = None


class ListedLag(Struct, frozen=True):
    """Where a group is in a partition."""

    partition: int
    position: int
    lag: int | None = None
    age_s: float | None = None


class ListedGroup(Struct, frozen=True):
    """A consumer group of a topic, with the records it has yet to commit."""

    group: str
    component: str = ""
    lag: int | None = None
    age_s: float | None = None
    partitions: list[ListedLag] = []


class ListedTopic(Struct, frozen=True):
    """A topic as `topics.list` gives it."""

    name: str
    records: int = 0
    key: str = ""
    retention: str = ""
    partitions: list[ListedPartition] = []
    groups: list[ListedGroup] = []
    writers: list[str] = []
    readers: list[str] = []

    @property
    def lag(self) -> int | None:
        """That of the group that is most behind; None: no group commits here."""
        lags = [group.lag for group in self.groups if group.lag is not None]
        return max(lags, default=None)

    @property
    def age_s(self) -> float | None:
        ages = [group.age_s for group in self.groups if group.age_s is not None]
        return max(ages, default=None)

    @property
    def used(self) -> bool:
        return self.records > 0 or bool(self.lag)


class PartitionRow(Struct, frozen=True):
    """A partition, and a group that has committed something in it, if there is one."""

    span: ListedPartition
    group: str = ""
    lag: ListedLag | None = None

    @property
    def key(self) -> str:
        return f"{self.span.partition} {self.group}"


class ListedRecord(Struct, frozen=True):
    """A record as `topics.browse` gives it."""

    topic: str
    partition: int
    offset: int
    time: str
    key: str = ""
    headers: list[dict[str, str]] = []
    size_bytes: int = 0
    encoding: str = "json"
    value: Raw = Raw(b"null")
    cut: bool = False
    masked: bool = False

    @property
    def id(self) -> str:
        return f"{self.partition}/{self.offset}"

    @property
    def document(self) -> dict[str, Any]:
        """Whole, as it is inspected: the value before the headers."""
        fields = asdict(self)
        headers = {each["name"]: each["value"] for each in fields.pop("headers")}
        return {
            **{name: fields.pop(name) for name in ("topic", "partition", "offset", "time", "key")},
            "value": msgspec.json.decode(fields.pop("value")),
            "headers": headers,
            **fields,
        }


class Neighbours(Struct, frozen=True):
    older: dict[str, int] | None = None
    newer: dict[str, int] = {}
    at_end: bool = True
    complete: bool = True


class RecordsPage(Struct, frozen=True):
    data: list[ListedRecord] = []
    partitions: list[ListedSpan] = []
    pagination_data: Neighbours = Neighbours()


def partition_rows(topic: ListedTopic) -> list[PartitionRow]:
    """By partition and group."""
    rows = []
    for span in topic.partitions:
        lags = [(group.group, lag) for group in topic.groups for lag in group.partitions]
        found = [PartitionRow(span, group, lag) for group, lag in lags if lag.partition == span.partition]
        rows += found or [PartitionRow(span)]
    return rows


class UnreadablePlace(Exception):
    """What was entered is neither an offset nor a time."""


def level(age_s: float | None) -> str:
    """`ok`, `warn` or `bad`: how far a group is behind."""
    if age_s is None or age_s < AGE_WARN_S:
        return "ok"
    return "warn" if age_s < AGE_BAD_S else "bad"


def preview(record: ListedRecord) -> str:
    """The value on a line."""
    match record.encoding:
        case "none":
            return "(tombstone)"
        case "withheld":
            return "(withheld: it may hold a secret)"
        case "json":
            return clean(bytes(record.value).decode(), PREVIEW_CHARS_MAX)
        case _:
            return clean(str(msgspec.json.decode(record.value)), PREVIEW_CHARS_MAX)


def place(entered: str, now: datetime) -> dict[str, object]:
    """`offset` or `time` of a request, from `1204`, `14:30`, `2026-11-30 14:30`, `-15m`. `now` has a zone, in which
    times without one are. Raises `UnreadablePlace`.
    """
    text = entered.strip()
    if text.isascii() and text.isdecimal():
        return {"offset": int(text)}
    if back := _BACK.fullmatch(text):
        return {"time": (now - timedelta(seconds=int(back[1]) * _UNITS_S[back[2]])).isoformat()}
    try:
        if clock := _CLOCK.fullmatch(text):
            at = now.replace(hour=int(clock[1]), minute=int(clock[2]), second=int(clock[3] or 0), microsecond=0)
        else:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo else at.replace(tzinfo=now.tzinfo)
    except ValueError:
        raise UnreadablePlace(f"{entered!r} is neither an offset nor a time: 1204, 14:30, -15m") from None
    return {"time": at.isoformat()}


def merged(shown: Sequence[ListedRecord], more: Sequence[ListedRecord], records_max: int) -> list[ListedRecord]:
    """What follows is added; the oldest beyond `records_max` are dropped."""
    return [*shown, *more][-records_max:]


def held(spans: Sequence[ListedSpan], page: Mapping[str, int]) -> str:
    """Where the page is, of one partition: `120 of 0 to 1,204`; of several: how many there are."""
    if len(spans) != 1:
        return f"{len(spans)} partitions"
    (span,) = spans
    at = page.get(str(span.partition), span.end)
    return f"partition {span.partition}, at {at:,} of {span.begin:,} to {span.end:,}"


def one_record(record: ListedRecord) -> dict[str, object]:
    """The request that reads it again."""
    return {"topic": record.topic, "partitions": [record.partition], "offset": record.offset, "page_size": 1}
