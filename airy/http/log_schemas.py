"""Schemas of what `/logs.list` answers."""

from typing import Any, Literal

from msgspec import Struct


class LogLineSchema(Struct, forbid_unknown_fields=True):
    instance: str
    time: str
    level: Literal["debug", "info", "warning", "error", "critical"]
    event: str
    actor: str | None  # its path in the supervision tree
    trace_id: str | None
    fields: dict[str, Any]  # all others


class LogPositionsSchema(Struct, forbid_unknown_fields=True):
    positions: dict[str, str]  # by instance: `positions` of the next request
    lost: dict[str, int]  # by instance: lines that were dropped before they could be read
    more: bool  # there are further lines behind these already


class LogPageSchema(Struct, forbid_unknown_fields=True):
    data: list[LogLineSchema]
    pagination_data: LogPositionsSchema
