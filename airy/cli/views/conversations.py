"""Conversations."""

from airy.cli.message_text import TEXT_CHARS_MAX, text
from airy.cli.view import Document, Field, View, at, seconds
from airy.http.response_schemas import ConversationSchema


def _activity(conversation: Document) -> object:
    return seconds("last_message.sent_at" if conversation["last_message"] else "created_at")(conversation)


def _tags(conversation: Document) -> list[str]:
    tags = at(conversation, "metadata.tags")
    return sorted(tags) if isinstance(tags, dict) else []


ID = Field("ID", "id")
CONTACT = Field("CONTACT", "metadata.contact.display_name", chars_max=30)
SOURCE = Field("SOURCE", "channel.source", spare=True)
STATE = Field("STATE", "metadata.state", chars_max=12, styles={"OPEN": "green"})
UNREAD = Field("UNREAD", "metadata.unread_count", align="right")
CONVERSATIONS = View(
    name="conversations",
    row=ConversationSchema,
    fields=(
        ID,
        CONTACT,
        SOURCE,
        STATE,
        UNREAD,
        Field("ACTIVITY", _activity, spare=True),
        Field("LAST MESSAGE", lambda row: text(row["last_message"]), chars_max=TEXT_CHARS_MAX),
    ),
    what="conversations",
)
CONVERSATION = View(
    name="conversation",
    row=ConversationSchema,
    fields=(
        ID,
        CONTACT,
        SOURCE,
        Field("CHANNEL", "channel.id"),
        Field("CHANNEL NAME", "channel.metadata.name"),
        STATE,
        Field("STATE VERSION", "state_version"),
        UNREAD,
        Field("TAGS", _tags),
        Field("CREATED", seconds("created_at")),
        Field("ACTIVITY", _activity),
        Field("LAST MESSAGE", lambda row: text(row["last_message"])),
    ),
    one=True,
)
