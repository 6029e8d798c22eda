"""The sources of this version."""

from msgspec import Struct

from airy.cli.view import Field, View


class SourceRow(Struct, forbid_unknown_fields=True):
    name: str
    title: str
    component: str
    kinds: list[str]
    webhooks: list[str]
    needs_public_url: bool


class SourceKindRow(Struct, forbid_unknown_fields=True):
    name: str
    title: str
    account: str
    connect: str | None
    credentials: list[str]
    receives: list[str]
    sends: list[str]
    updates: list[str]
    receipts: list[str]
    profile: str
    media: str


class SourceDetailRow(Struct, forbid_unknown_fields=True):
    name: str
    title: str
    component: str
    kinds: list[SourceKindRow]
    webhooks: list[str]
    needs_public_url: bool
    configuration: str
    required: list[str]
    topics: list[str]
    groups: list[str]


FIELDS = (
    Field("SOURCE", "name"),
    Field("KINDS", "kinds"),
    Field("WEBHOOKS", "webhooks"),
    Field("TITLE", "title"),
)
SOURCES = View(name="sources", row=SourceRow, fields=FIELDS, what="sources")
SOURCE = View(name="source", row=SourceDetailRow, fields=FIELDS, one=True)
