"""Log lines of processes."""

from airy.cli.view import Field, View
from airy.http.log_schemas import LogLineSchema

FIELDS_CHARS_MAX = 400
LOG_LINES = View(
    name="log-lines",
    row=LogLineSchema,
    fields=(
        Field("TIME", "time"),
        Field(
            "LEVEL", "level", chars_min=len("critical"), styles={"warning": "yellow", "error": "red", "critical": "red"}
        ),
        Field("INSTANCE", "instance"),
        Field("EVENT", "event", chars_max=80),
        Field("ACTOR", "actor"),
        Field("FIELDS", "fields", chars_max=FIELDS_CHARS_MAX),
    ),
    what="log lines",
)
