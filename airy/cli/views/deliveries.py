"""What `airy listen` received."""

from airy.app.listen.receiver import ReceivedDelivery
from airy.cli.view import Document, Field, View

EVENT_CHARS = 22
ID_CHARS = 36
STYLES = {"valid": "green", "invalid": "red", "missing": "red"}


def _repeats(row: Document) -> str:
    return f"again, {row['repeats']} before" if row["repeats"] else ""


def _signature(row: Document) -> str:
    return f"{row['signature']:<9}"


RECEIVED = View(
    name="received-deliveries",
    row=ReceivedDelivery,
    fields=(
        Field("TIME", lambda row: row["received_at"][11:23]),
        Field("STATUS", "status", align="right"),
        Field("SIGNATURE", _signature, styles={f"{word:<9}": style for word, style in STYLES.items()}),
        Field("EVENT", lambda row: f"{row['event'] or '-':<{EVENT_CHARS}}", chars_max=EVENT_CHARS + 10),
        Field("ID", lambda row: f"{row['event_id'] or '-':<{ID_CHARS}}", chars_max=64),
        Field("BYTES", lambda row: f"{row['bytes']:>6}", align="right"),
        Field("NOTE", lambda row: row["reason"] or _repeats(row)),
    ),
    what="deliveries",
)
