"""The fold of contacts: which writes are accepted. Pure; the log orders all of them.

Invariant: a conversation is linked by at most one contact.
"""

from typing import Protocol

from airy.model.contact import ContactsWritten, ContactWrite


class ContactState(Protocol):
    def version(self, contact_id: str) -> int:
        """Of the latest accepted write of the contact, a deletion included; 0: there was none."""
        ...

    def linked_by(self, conversation_id: str) -> str | None:
        """The contact that links the conversation."""
        ...


def accepts(written: ContactsWritten, state: ContactState) -> bool:
    """Whether every contact still has the version it was read at, and no conversation would be linked twice."""
    contacts = {write.id for write in written.writes}
    free: set[str | None] = {None, *contacts}
    links = [name for write in written.writes if write.contact for name in write.contact.conversations]
    return (
        0 < len(contacts) == len(written.writes)
        and len(set(links)) == len(links)
        and all(state.version(write.id) == write.base for write in written.writes)
        and all(state.linked_by(name) in free for name in links)
    )


def version_after(written: ContactsWritten, write: ContactWrite) -> int:
    """A time; greater than the version before it, whatever the clocks say."""
    return max(written.at_ms, write.base + 1)
