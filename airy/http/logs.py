"""`/logs.list`: the last log lines of every process."""

from typing import Literal

from msgspec import Struct

from airy.commands.log_lines import LIMIT, FoundLine, LogQuery, find_lines, parse_position
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.log_schemas import LogPageSchema
from airy.http.ports import ApiContext
from airy.http.request_bodies import FilledText, Time
from airy.http.resource import Resource

FIRST = ("timestamp", "level", "event", "path", "trace_id")  # fields of their own


class ListLogs(Struct, frozen=True):
    """With `positions` or `since` the oldest lines from there on; without, the newest ones."""

    positions: dict[str, str] | None = None  # by instance, as an answer says
    since: Time | None = None
    level: Literal["debug", "info", "warning", "error", "critical"] = "debug"
    component: FilledText | None = None
    words: FilledText | None = None
    limit: int | None = None


@action("/logs.list", permission=Permission.OPERATE, body=ListLogs, returns=LogPageSchema)
async def list_(api: ApiContext, request: ActionRequest[ListLogs]) -> Reply:
    """Log lines of all processes in order of time, and from where each of them goes on."""
    body = request.body
    positions = body.positions
    query = LogQuery(
        positions=None if positions is None else {name: parse_position(text) for name, text in positions.items()},
        since_ms=body.since,
        level=body.level,
        component=body.component,
        words=body.words or "",
        limit=LIMIT if body.limit is None else body.limit,
    )
    page = find_lines(api.logs.rings(), query)
    return Reply(
        {
            "data": [render_line(line) for line in page.lines],
            "pagination_data": {
                "positions": {name: str(position) for name, position in page.positions.items()},
                "lost": dict(page.lost),
                "more": page.more,
            },
        }
    )


RESOURCE = Resource(name="logs", component="api-admin", actions=(list_,), commands="logs")


def render_line(line: FoundLine) -> dict[str, object]:
    fields = line.fields
    return {
        "instance": line.instance,
        "time": line.time,
        "level": fields.get("level", "info"),
        "event": str(fields.get("event", "")),
        "actor": fields.get("path"),
        "trace_id": fields.get("trace_id"),
        "fields": {name: value for name, value in fields.items() if name not in FIRST},
    }
