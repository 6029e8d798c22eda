"""`/topics.*`: the topics of the log with the lag of their consumer groups, and their records, page by page."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import asdict

from airy.bus.provision import retention
from airy.commands.record_redaction import ShownRecord
from airy.commands.topic_browser import PAGE_SIZE, BrowseRequest, OffsetSpan, TopicState
from airy.errors import Refused
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.body_kinds import EmptyBody
from airy.http.ports import ApiContext
from airy.http.request_bodies import FilledText, Text, Time
from airy.http.resource import Resource
from airy.http.response_schemas import ListSchema
from airy.http.topic_schemas import RecordPageSchema, TopicSchema
from airy.model.render import timestamp

PARTITIONS_MAX = 1_000  # named in one request

Document = dict[str, object]


class BrowseTopic(Struct, frozen=True):
    """At most one of `offset`, `time` and `positions` says where to start. Without one: the newest records."""

    topic: FilledText
    partitions: Annotated[list[int], Meta(max_length=PARTITIONS_MAX)] | None = None  # None: all, or the one of `key`
    key: Text | None = None  # only records with this key
    offset: int | None = None  # of one partition
    time: Time | None = None
    positions: dict[str, int] | None = None  # offset by partition, as a page says
    direction: Literal["newer", "older"] | None = None
    page_size: int | None = None


@action("/topics.list", permission=Permission.OPERATE, body=EmptyBody, returns=ListSchema[TopicSchema])
async def list_(api: ApiContext, _request: ActionRequest[EmptyBody]) -> Reply:
    """Every topic of the log: partitions, offsets, retention, writers and readers, and the lag of its groups."""
    return Reply({"data": [render(each) for each in await api.topics.find_all()]})


@action("/topics.browse", permission=Permission.INSPECT, body=BrowseTopic, returns=RecordPageSchema)
async def browse(api: ApiContext, request: ActionRequest[BrowseTopic]) -> Reply:
    """A page of the records of a topic, in order of time, without secrets."""
    body = request.body
    page = await api.topics.browse(
        BrowseRequest(
            topic=body.topic,
            partitions=body.partitions,
            key=body.key,
            offset=body.offset,
            at_ms=body.time,
            positions=_positions(body.positions),
            direction=body.direction,
            page_size=PAGE_SIZE if body.page_size is None else body.page_size,
        )
    )
    return Reply(
        {
            "data": [render_record(body.topic, record) for record in page.records],
            "partitions": [_span(span) for span in page.spans],
            "pagination_data": {
                "older": None if page.older is None else _texts(page.older),
                "newer": _texts(page.newer),
                "at_end": page.at_end,
                "complete": page.complete,
            },
        }
    )


RESOURCE = Resource(
    name="topics",
    component="api-admin",
    actions=(list_, browse),
    commands="topics",
)


def render(state: TopicState) -> Document:
    topic = state.topic
    return {
        "name": topic.name,
        "key": topic.key,
        "records": state.records,
        "cleanup_policy": "compact" if topic.retention == "compacted" else "delete",
        "retention": retention(topic),
        "retention_ms": topic.retention_ms,
        "partitions": [asdict(each) for each in state.partitions],
        "groups": [
            {
                "group": each.group,
                "component": each.component,
                "lag": each.lag,
                "age_s": _rounded(each.age_s),
                "partitions": [{**asdict(lag), "age_s": _rounded(lag.age_s)} for lag in each.partitions],
            }
            for each in state.groups
        ],
        "writers": list(state.writers),
        "readers": list(state.readers),
    }


def render_record(topic: str, record: ShownRecord) -> Document:
    return {
        "topic": topic,
        "partition": record.partition,
        "offset": record.offset,
        "time": timestamp(record.timestamp_ms),
        "key": record.key,
        "headers": [{"name": name, "value": value} for name, value in record.headers],
        "size_bytes": record.size_bytes,
        "encoding": record.encoding,
        "value": record.value,
        "cut": record.cut,
        "masked": record.masked,
    }


def _span(span: OffsetSpan) -> Document:
    return {"partition": span.partition, "begin": span.begin, "end": span.end}


def _rounded(age_s: float | None) -> float | None:
    return None if age_s is None else round(age_s, 3)


def _texts(offsets: Mapping[int, int]) -> dict[str, int]:
    return {str(partition): offset for partition, offset in offsets.items()}


def _positions(given: Mapping[str, int] | None) -> Mapping[int, int] | None:
    if given is None:
        return None
    wrong: Sequence[str] = [name for name in given if not (name.isascii() and name.isdecimal())]
    if wrong:
        raise Refused(f"{wrong[0][:32]!r} is not the number of a partition", field="positions")
    return {int(name): offset for name, offset in given.items()}
