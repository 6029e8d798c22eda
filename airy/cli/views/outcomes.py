"""What became of each object that a command changed."""

from msgspec import Struct

from airy.cli.view import Field, View


class OutcomeRow(Struct, forbid_unknown_fields=True):
    id: str
    result: str


OUTCOMES = View(name="outcomes", row=OutcomeRow, fields=(Field("ID", "id"), Field("RESULT", "result")), what="changes")
