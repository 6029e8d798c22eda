"""Channels, and the kinds of channels that can be connected."""

from typing import Any

from msgspec import Struct

from airy.cli.view import Document, Field, View, at, seconds
from airy.http.response_schemas import ConnectedChannelSchema, ListedChannelSchema


class FormFieldRow(Struct, forbid_unknown_fields=True):
    name: str
    required: bool
    secret: bool
    choices: list[str]


class ChannelKindRow(Struct, forbid_unknown_fields=True):
    name: str
    title: str
    fields: list[FormFieldRow]


def _state(channel: Document) -> str:
    if not channel["connected"]:
        return "disconnected"
    return "failing" if at(channel, "metadata.health.state") == "failing" else "connected"


def _names(kind: Document) -> list[str]:
    fields: list[dict[str, Any]] = kind["fields"]
    return [f"{each['name']}{'' if each['required'] else '?'}" for each in fields]


FIELDS = (
    Field("ID", "id"),
    Field("SOURCE", "source"),
    Field("ACCOUNT", "source_channel_id", spare=True),
    Field("NAME", "metadata.name", chars_max=30),
    Field("STATE", _state, styles={"connected": "green", "failing": "red"}),
    Field("REASON", "metadata.health.reason", chars_max=60),
)
URL = Field("WEBHOOK URL", "webhook_url")
USED = (
    Field("LAST IN", seconds("last_inbound_at"), spare=True),
    Field("LAST OUT", seconds("last_outbound_at"), spare=True),
)
CHANNELS = View(
    name="channels",
    row=ListedChannelSchema,
    fields=(*FIELDS[:-1], *USED, FIELDS[-1]),
    what="connected channels",
    order=lambda row: (row["source"], row["id"]),
)
CHANNEL = View(name="channel", row=ListedChannelSchema, fields=(*FIELDS, *USED, URL), one=True)
CONNECTED_CHANNEL = View(
    name="connected-channel",
    row=ConnectedChannelSchema,
    fields=(*FIELDS, Field("INSTRUCTIONS", "instructions"), Field("SETTINGS", "settings")),
    one=True,
)
CHANNEL_KINDS = View(
    name="channel-kinds",
    row=ChannelKindRow,
    fields=(Field("KIND", "name"), Field("TITLE", "title"), Field("FIELDS", _names)),
    what="kinds of channels that can be connected",
)
