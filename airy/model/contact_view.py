"""A contact as clients see it: what was written about it, completed from its conversations. Pure."""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from airy.model import metadata, render
from airy.model.contact import Contact
from airy.model.conversation import Conversation

NAME = "contact.display_name"
AVATAR = "contact.avatar_url"


class ContactView(Struct, frozen=True):
    contact: Contact  # as written; `conversations` also has the one it belongs to by itself
    version: int  # of the latest write; 0: there was none
    is_written: bool  # False: it appeared by itself, and no client changed it
    display_name: str | None
    is_named: bool  # `display_name` is a name, and not the default of a conversation
    avatar_url: str | None
    message_counts: dict[str, int]  # of its conversations that have messages, deleted ones included


def contact_view(
    contact_id: str,
    written: Contact | None,
    version: int,
    own: Conversation | None,
    conversation_of: Callable[[str], Conversation | None],
) -> ContactView | None:
    """`own`: the conversation that belongs to the contact by itself. None without it and without a write.

    The name of a contact is the one that was written, the first that one of its conversations has, or the default of
    the first conversation.
    """
    if written is not None:
        contact = written
        if own is not None and own.id not in written.conversations:
            contact = replace(written, conversations={**written.conversations, own.id: own.source})
    elif own is not None:
        contact = Contact(id=contact_id, conversations={own.id: own.source}, created_at_ms=own.created_at_ms)
    else:
        return None
    found = (conversation_of(name) for name in contact.conversations)
    conversations = [each for each in found if each is not None and each.visible]
    name = contact.display_name or _first(conversations, NAME)
    default = render.default_contact_name(conversations[0]) if conversations else None
    return ContactView(
        contact=contact,
        version=version,
        is_written=written is not None,
        display_name=name or default,
        is_named=name is not None,
        avatar_url=contact.avatar_url or _first(conversations, AVATAR),
        message_counts={each.id: each.message_count for each in conversations},
    )


def has_own_contact(conversation: Conversation, linked_by: object, covered: int) -> bool:
    """Whether a conversation has a contact of its own: messages that no deletion covers, and no link (None)."""
    return linked_by is None and conversation.message_count > covered


def _first(conversations: list[Conversation], key: str) -> str | None:
    texts = (metadata.text(each.metadata, key) for each in conversations)
    return next((text for text in texts if text), None)
