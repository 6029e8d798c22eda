"""Dead letters: records of the log that could not be processed."""

from typing import Literal

from msgspec import Struct

from airy.cli.view import Document, Field, View, seconds
from airy.http.response_schemas import DeadLetterDetailSchema, DeadLetterSchema


def _resolution(letter: Document) -> str:
    """Why it was discarded, and by which caller it was resolved."""
    by = f"by {letter['resolved_by']}" if letter["resolved_by"] else ""
    return ", ".join(part for part in (letter["resolution_reason"], by) if part)


FIELDS = (
    Field("ID", "id"),
    Field("STATE", "state", styles={"open": "red", "replayed": "green"}),
    Field("ATTEMPTS", "attempts", align="right", spare=True),
    Field("FIRST SEEN", seconds("first_seen_at"), spare=True),
    Field("BYTES", "size_bytes", align="right", spare=True),
    Field("KEY", "key", chars_max=40, spare=True),
    Field("REASON", "reason", chars_max=60),
    Field("RESOLUTION", _resolution, chars_max=60, spare=True),
)


class ResolvedLetterRow(Struct, forbid_unknown_fields=True):
    id: str
    result: Literal["replayed", "discarded", "already_replayed", "already_discarded"]


DEAD_LETTERS = View(name="dead-letters", row=DeadLetterSchema, fields=FIELDS, what="dead letters")
DEAD_LETTER = View(name="dead-letter", row=DeadLetterDetailSchema, fields=FIELDS, one=True)
RESOLVED = View(
    name="resolved-dead-letters",
    row=ResolvedLetterRow,
    fields=(Field("ID", "id"), Field("RESULT", lambda row: row["result"].replace("_", " "))),
    what="dead letters",
)
