"""Messages of a conversation."""

from airy.cli.message_text import TEXT_CHARS_MAX, state, text
from airy.cli.view import Document, Field, View, seconds
from airy.http.response_schemas import MessageSchema

STATES = {"failed": "red", "pending": "yellow", "unknown": "magenta", "delivered": "green", "read": "green"}


def _sender(message: Document) -> str:
    sender = message["sender"]
    return "contact" if message["from_contact"] else sender["name"] or sender["id"]


FIELDS = (
    Field("ID", "id"),
    Field("SENT", seconds("sent_at"), spare=True),
    Field("FROM", _sender, chars_max=30),
    Field("STATE", state, styles=STATES),
)
MESSAGES = View(
    name="messages",
    row=MessageSchema,
    fields=(*FIELDS, Field("TEXT", text, chars_max=TEXT_CHARS_MAX)),
    what="messages",
)
MESSAGE = View(
    name="message",
    row=MessageSchema,
    fields=(*FIELDS, Field("SOURCE", "source"), Field("ERROR", "metadata.error"), Field("TEXT", text)),
    one=True,
)
