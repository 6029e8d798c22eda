"""Contacts."""

from datetime import UTC, datetime

from airy.cli.view import Document, Field, View
from airy.http.response_schemas import ContactSchema, MergedContactSchema


def _created(contact: Document) -> str:
    return datetime.fromtimestamp(contact["created_at"] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


ID = Field("ID", "id")
NAME = Field("NAME", "display_name", chars_max=30)
ORGANIZATION = Field("ORGANIZATION", "organization_name", chars_max=30, spare=True)
COUNT = Field("CONVERSATIONS", lambda row: len(row["conversations"]), align="right")
DETAILS = (
    ID,
    NAME,
    Field("TITLE", "title"),
    ORGANIZATION,
    Field("GENDER", "gender"),
    Field("LOCALE", "locale"),
    Field("TIME ZONE", "timezone"),
    Field("VIA", "via"),
    Field("ADDRESS", lambda row: {name: value for name, value in row["address"].items() if value}),
    Field("CONVERSATIONS", "conversations"),
    Field("METADATA", "metadata"),
    Field("CREATED", _created),
    Field("VERSION", "version"),
)
CONTACTS = View(
    name="contacts",
    row=ContactSchema,
    fields=(ID, NAME, ORGANIZATION, COUNT, Field("CREATED", _created)),
    what="contacts",
)
CONTACT = View(name="contact", row=ContactSchema, fields=DETAILS, one=True)
MERGED_CONTACT = View(
    name="merged-contact",
    row=MergedContactSchema,
    fields=(*DETAILS, Field("MERGED FROM", lambda row: [each["id"] for each in row["merge_history"]])),
    one=True,
)
