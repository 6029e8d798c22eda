"""What the fold may look up and change: one conversation, its messages, and which facts it has seen.

The store implements it over rows, tests and the reference fold over dictionaries. No await: whoever calls the fold has
made the lookups cheap.
"""

from collections.abc import Iterable
from typing import Protocol

from airy.model.conversation import Conversation, Message


class FoldState(Protocol):
    """State of one conversation. What `put_…` was given is what later lookups return, within and across batches."""

    def conversation(self) -> Conversation | None: ...
    def put_conversation(self, conversation: Conversation) -> None: ...
    def message(self, message_id: str) -> Message | None: ...
    def message_by_provider_id(self, provider_id: str) -> Message | None:
        """Within this conversation."""
        ...

    def ours_up_to(self, at_ms: int) -> Iterable[Message]:
        """Messages of ours in delivery sending, unknown, sent or delivered whose `attempt_at_ms` (else `sent_at_ms`) ≤ `at_ms`, by sequence."""
        ...

    def latest_message(self, *, excluding: str) -> Message | None:
        """The newest message that is not deleted, by (sent_at_ms, sequence), other than `excluding`."""
        ...

    def put_message(self, message: Message) -> None: ...
    def seen(self, fact_id: str) -> bool: ...
    def remember(self, fact_id: str) -> None: ...
