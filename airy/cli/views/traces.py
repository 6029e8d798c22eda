"""The hops of a message trace."""

import msgspec

from airy.cli.view import Document, Field, View
from airy.http.response_schemas import HopSchema
from airy.tui.console import format as shown
from airy.tui.console.trace.rows import TracedHop, place, said

DETAIL_CHARS_MAX = 80
OUTCOMES = {
    "delivered": "green",
    "retry": "yellow",
    "waiting": "yellow",
    "unknown": "yellow",
    "beyond_retention": "yellow",
    "dead": "red",
    "failed": "red",
    "disabled": "red",
    "unreadable": "red",
}


def _hop(row: Document) -> TracedHop:
    return msgspec.convert(dict(row), TracedHop)


def _after(row: Document) -> object:
    since_ms = row["since_previous_ms"]
    return None if since_ms is None else shown.duration(since_ms / 1000)


HOPS = View(
    name="trace",
    row=HopSchema,
    fields=(
        Field("HOP", "kind"),
        Field("AT", "at"),
        Field("AFTER", _after, align="right"),
        Field("OUTCOME", "outcome", styles=OUTCOMES),
        Field("IN THE LOG", lambda row: place(_hop(row))),
        Field("DETAIL", lambda row: said(_hop(row)), chars_max=DETAIL_CHARS_MAX),
    ),
    what="hops",
)
