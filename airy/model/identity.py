"""Names of participants: what a provider calls the contact of a conversation, which may change or be several at once.

A conversation's id derives from the first name it was seen under. The other names are its aliases. The same name may
belong to several conversations, if they turned out to be of one contact after they had begun.
"""

from typing import NamedTuple


class IdentityKey(NamedTuple):
    """A participant's name within a channel."""

    channel_id: str
    name: str
