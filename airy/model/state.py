"""What the fold may look up and change: one conversation, its messages, and which facts it has seen.

The store implements it over rows, tests and the reference fold over dictionaries. No await: whoever calls the
fold has made the lookups cheap.
"""

from collections.abc import Iterable
from typing import Protocol

from airy.model.conversation import Conversation, Message


class FoldState(Protocol):
    """State of one conversation. What `put_…` was given is what later lookups return, within and across
    batches.

    The fold changes the structs it is given in place, and puts every one it changed. It changes nothing
    before it has decided to accept the fact.
    """

    def conversation(self) -> Conversation | None: ...
    def put_conversation(self, conversation: Conversation) -> None: ...
    def message(self, message_id: str) -> Message | None: ...
    def message_by_provider_id(self, provider_id: str) -> Message | None:
        """Within this conversation. A message that was put without its provider id again is no longer found
        by it.
        """
        ...

    def ours_up_to(self, at_ms: int, *, above_ms: int) -> Iterable[Message]:
        """Messages of ours in delivery unknown, sent or delivered with `above_ms` < `out_at_ms` ≤ `at_ms`, by
        sequence.
        """
        ...

    def latest_message(self, *, excluding: str) -> Message | None:
        """The newest message that is not deleted, by (sent_at_ms, sequence), other than `excluding`."""
        ...

    def put_message(self, message: Message) -> None: ...
    def seen(self, fact_id: str) -> bool: ...
    def remember(self, fact_id: str, *, accepted: bool) -> None:
        """Called once per fact, for rejected ones too: told again later, they must not be accepted.

        Not called for facts that are their own memory: received messages (their message id) and bare
        watermarks.
        """
        ...
