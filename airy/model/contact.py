"""Contacts: the persons on the other side of conversations, and the record that changes them.

Every conversation with a message belongs to one contact: to the one that links it, otherwise to one of its own, whose
id is `ids.contact_id`. A contact of a conversation's own needs no record; it has one once a client changes it.

All records have one key, so the log orders all writes of contacts, and one record may change several contacts.
"""

from msgspec import Raw, Struct

from airy.model.raw import NULL

KEY = "contacts"  # of every record
CONVERSATIONS_MAX = 100  # linked by one contact
VIA_MAX = 50
MERGES_MAX = 50  # contacts that were merged into one
METADATA_BYTES_MAX = 16_384


class PostalAddress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    organization_name: str | None = None
    address_line1: str | None = None
    address_line2: str | None = None
    postal_code: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None


class Contact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What clients wrote. A name or picture that is absent is that of a conversation; see `ContactView`."""

    id: str
    display_name: str | None = None
    avatar_url: str | None = None
    title: str | None = None
    gender: str | None = None
    timezone: int | None = None  # hours from UTC, as clients give it
    locale: str | None = None
    organization_name: str | None = None
    via: dict[str, str] = {}  # way of contact, such as `phone`, to address
    address: PostalAddress = PostalAddress()
    conversations: dict[str, str] = {}  # linked conversations, by id: the source
    metadata: Raw = NULL
    merge_history: tuple["Contact", ...] = ()  # contacts that were merged into this one, oldest first
    request: str = ""  # hash of the request that created it under an idempotency key
    created_at_ms: int = 0
    updated_at_ms: int = 0  # also its version


class ContactWrite(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One contact as it is after the write; None deletes it. `base`: the version the write was made on."""

    id: str
    base: int
    contact: Contact | None = None


class ContactsWritten(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Writes that are accepted together or not at all. Without any it is a position in the log and nothing else.

    `covered`: for the conversations of deleted contacts, the number of messages the deletion covers. A conversation
    belongs to a contact again once it has more.
    """

    id: str
    at_ms: int
    writes: tuple[ContactWrite, ...] = ()
    covered: dict[str, int] = {}
