"""Contacts in the form of the HTTP API. Times are in ms, as in the original."""

from msgspec.structs import asdict

from airy.model.contact import Contact
from airy.model.contact_view import ContactView
from airy.model.raw import none_if_null
from airy.model.render import Document


def render_contact(view: ContactView) -> Document:
    return _document(view.contact, view.display_name, view.avatar_url) | {"version": view.version}


def render_merged(view: ContactView) -> Document:
    """With the contacts that were merged into it."""
    history = [_document(each, each.display_name, each.avatar_url) for each in view.contact.merge_history]
    return render_contact(view) | {"merge_history": history}


def _document(contact: Contact, display_name: str | None, avatar_url: str | None) -> Document:
    changed = contact.updated_at_ms not in {0, contact.created_at_ms}
    return {
        "id": contact.id,
        "display_name": display_name,
        "avatar_url": avatar_url,
        "title": contact.title,
        "gender": contact.gender,
        "timezone": contact.timezone,
        "locale": contact.locale,
        "organization_name": contact.organization_name,
        "via": contact.via,
        "address": asdict(contact.address),
        "conversations": contact.conversations,
        "metadata": none_if_null(contact.metadata),
        "created_at": contact.created_at_ms,
        "updated_at": contact.updated_at_ms if changed else None,
    }
