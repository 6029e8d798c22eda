"""The part of a batch that the states of its conversations use: look-ups, and the rows to be written."""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

import apsw

from airy.model.conversation import Conversation, Message
from airy.store.api import WorkKey
from airy.store.sqlite.conversation_counts import Group
from airy.store.sqlite.id_encoding import StoredId

Row = tuple[object, ...]


class ChangedState(Protocol):
    """The state of a conversation that the batch changed."""

    def write(self) -> None:
        """Adds its rows to the batch."""
        ...


class BatchRows(Protocol):
    connection: apsw.Connection
    look_up: Callable[[str, Row], apsw.Cursor]
    counts: dict[str, int]
    changed: list[ChangedState]
    seen: list[Row]
    provider_ids: list[Row]
    message_inserts: list[Row]
    message_updates: list[Row]
    unindexed: list[Row]  # messages
    unindexed_conversations: list[Row]
    conversation_inserts: list[Row]
    conversation_updates: list[Row]
    activity_updates: list[Row]
    counted: Counter[Group]
    aliases: list[Row]
    removed_aliases: list[Row]
    tags: list[Row]
    removed_tags: list[Row]
    sends: dict[tuple[int, int], Row | None]
    trace: str
    offset: int  # of the record being folded
    reordered: set[int]
    profiles: list[Row]
    removed_profiles: list[Row]
    touched: set[WorkKey]
    contacts_due: list[Conversation]  # whose contact may have changed

    def add_message_time(self, message: Message) -> None: ...
    def connected(self, channel: StoredId) -> bool | None: ...
    def next_conversation(self) -> int: ...
    def next_message(self) -> int: ...
    def write_messages(self) -> None: ...
