"""The port of the fold: reads and writes one conversation, its messages, and the ids of folded facts.

The store implements it over rows, tests and the reference fold over dictionaries. Synchronous: the caller of the
fold makes the look-ups cheap.
"""

from collections.abc import Iterable
from typing import Protocol

from airy.model.conversation import Conversation, Message


class FoldState(Protocol):
    """State of one conversation. A look-up returns what was last put, within and across batches.

    The fold changes the structs it was given in place, and puts every one it changed. It changes nothing before it
    has decided to accept the fact.
    """

    def conversation(self) -> Conversation | None: ...
    def put_conversation(self, conversation: Conversation) -> None: ...
    def message(self, message_id: str) -> Message | None: ...
    def message_by_provider_id(self, provider_id: str) -> Message | None:
        """Within this conversation. A message that was put without its former provider id is no longer found by it."""
        ...

    def outbound_up_to(self, at_ms: int, *, above_ms: int) -> Iterable[Message]:
        """Outbound messages in state unknown, sent or delivered with `above_ms` < `dispatched_at_ms` ≤ `at_ms`, by
        sequence.
        """
        ...

    def latest_message(self, *, excluding: str) -> Message | None:
        """The greatest sequence of the messages that are not deleted, other than `excluding`."""
        ...

    def put_message(self, message: Message) -> None: ...
    def seen(self, fact_id: str) -> bool: ...
    def mark_seen(self, fact_id: str, *, accepted: bool) -> None:
        """Called once per fact, also for rejected ones: a duplicate that arrives later must not be accepted.

        Not called for facts that need no record of their id: received messages (their message is stored) and
        receipts with a watermark only.
        """
        ...
