"""Edits of contacts as pure functions: fields that a client sets, and the merge of two contacts. Limits raise `Refused`
with the field.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Raw, Struct
from msgspec.structs import asdict, replace

from airy.errors import Refused
from airy.model.contact import CONVERSATIONS_MAX, MERGES_MAX, METADATA_BYTES_MAX, VIA_MAX, Contact
from airy.model.contact_view import ContactView
from airy.model.raw import none_if_null

Entries = Mapping[str, str | None]

_TEXTS = ("display_name", "avatar_url", "title", "gender", "locale", "organization_name")


class ContactEdit(Struct, frozen=True, kw_only=True):
    """The fields that are set. None: not given. Empty text removes a value; None as the value of an entry as well."""

    display_name: str | None = None
    avatar_url: str | None = None
    title: str | None = None
    gender: str | None = None
    timezone: int | None = None
    locale: str | None = None
    organization_name: str | None = None
    via: Entries = {}
    address: Entries = {}  # by the fields of `PostalAddress`
    conversations: Entries = {}  # conversation id to source
    metadata: Raw | None = None  # replaced as a whole


def edited(contact: Contact, edit: ContactEdit) -> Contact:
    texts = {name: given or None for name in _TEXTS if (given := getattr(edit, name)) is not None}
    after = replace(
        contact,
        **texts,
        timezone=contact.timezone if edit.timezone is None else edit.timezone,
        via=_with_entries(contact.via, edit.via),
        address=replace(contact.address, **{name: given or None for name, given in edit.address.items()}),
        conversations=_with_entries(contact.conversations, edit.conversations),
        metadata=contact.metadata if edit.metadata is None else edit.metadata,
    )
    return _within_limits(after)


def merged(destination: ContactView, source: ContactView) -> Contact:
    """The destination, with what the source has and the destination has not."""
    into, other = destination.contact, source.contact
    gaps: dict[str, Any] = {
        name: getattr(other, name)
        for name in (*_TEXTS, "timezone")
        if getattr(into, name) is None and getattr(other, name) is not None
    }
    if destination.is_named:
        gaps.pop("display_name", None)
    if destination.avatar_url is not None:
        gaps.pop("avatar_url", None)
    address = {name: given for name, given in asdict(into.address).items() if given is not None}
    before = replace(
        other, display_name=source.display_name, avatar_url=source.avatar_url, merge_history=(), request=""
    )
    after = replace(
        into,
        **gaps,
        via={**other.via, **into.via},
        address=replace(other.address, **address),
        conversations={**into.conversations, **_others(other.conversations, into.conversations)},
        metadata=other.metadata if none_if_null(into.metadata) is None else into.metadata,
        merge_history=(*into.merge_history, *other.merge_history, before),
    )
    if len(after.merge_history) > MERGES_MAX:
        raise Refused(f"at most {MERGES_MAX} contacts can be merged into one", field="destination_id")
    return _within_limits(after)


def _others(entries: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    return {name: given for name, given in entries.items() if name not in known}


def _with_entries(entries: Mapping[str, str], given: Entries) -> dict[str, str]:
    after = {**entries, **given}
    return {name: text for name, text in after.items() if text}


def _within_limits(contact: Contact) -> Contact:
    if len(contact.conversations) > CONVERSATIONS_MAX:
        raise Refused(f"a contact has at most {CONVERSATIONS_MAX} conversations", field="conversations")
    if len(contact.via) > VIA_MAX:
        raise Refused(f"a contact has at most {VIA_MAX} entries", field="via")
    if len(bytes(contact.metadata)) > METADATA_BYTES_MAX:
        raise Refused(f"must have at most {METADATA_BYTES_MAX:,} bytes of JSON", field="metadata")
    return contact
