"""What `airy listen` received."""

from airy.app.listen.receiver import ReceivedDelivery
from airy.cli.view import Document, Field, View

EVENT_CHARS = 22
ID_CHARS = 36
STYLES = {"valid": "green", "invalid": "red", "missing": "red"}


def _repeats(row: Document) -> str:
    return f"again, {row['repeats']} before" if row["repeats"] else ""


RECEIVED = View(
    name="received-deliveries",
    row=ReceivedDelivery,
    fields=(
        Field("TIME", lambda row: row["received_at"][11:23]),
        Field("STATUS", "status", align="right"),
        Field("SIGNATURE", "signature", styles=STYLES),
        Field("EVENT", "event", chars_min=EVENT_CHARS, chars_max=EVENT_CHARS + 10),
        Field("ID", "event_id", chars_min=ID_CHARS, chars_max=64),
        Field("BYTES", "bytes", align="right", chars_min=6),
        Field("NOTE", lambda row: row["reason"] or _repeats(row)),
    ),
    what="deliveries",
)
