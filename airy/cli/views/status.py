"""The status of an installation."""

from typing import Any

from msgspec import Struct

from airy.cli.view import Field, View
from airy.http.response_schemas import ComponentCountSchema, ProcessComponentSchema


class FoldRow(Struct, forbid_unknown_fields=True):
    position: float  # sum of the offsets of all partitions
    lag: float
    age_s: float
    caught_up: bool


class QueueRow(Struct, forbid_unknown_fields=True):
    up: bool
    waiting: float
    leased: float
    waiting_max: float
    dead: float
    oldest_s: float


class StatusRow(Struct, forbid_unknown_fields=True):
    """What the queried process says of itself. `processes`: every process of the installation, or those of several
    `--url`, with `error` for one that does not respond.
    """

    ready: bool
    url: str = ""
    version: str = ""
    waiting_for: dict[str, Any] = {}
    services: dict[str, dict[str, Any]] = {}
    counts: dict[str, float] = {}
    components: dict[str, ProcessComponentSchema] = {}
    memory_bytes: float = 0
    event_loop_delay_s: float = 0
    fold: FoldRow | None = None
    lag: dict[str, float] = {}
    queue: QueueRow | None = None
    processes: list[dict[str, Any]] = []
    component_processes: dict[str, ComponentCountSchema] = {}


STATUS = View(name="status", row=StatusRow, fields=(Field("READY", "ready"), Field("VERSION", "version")), one=True)
