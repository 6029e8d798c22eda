"""The subscribers of the broadcaster, by the conversations they follow.

A process may serve thousands of visitors, each of one conversation: a change is offered to those of its conversation
and to the subscribers of all conversations, without a look at the others.
"""

from collections.abc import Iterator

from airy.actors.feed_subscriber import Subscriber
from airy.model.change import Change


class SubscriberIndex:
    """Iterates in the order in which they joined."""

    def __init__(self) -> None:
        self._all: dict[Subscriber, None] = {}
        self._of_any: dict[Subscriber, None] = {}  # those whose scope names no conversation
        self._of_conversation: dict[str, dict[Subscriber, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(self._all)

    def add(self, subscriber: Subscriber) -> None:
        self._all[subscriber] = None
        if not subscriber.scope.conversations:
            self._of_any[subscriber] = None
        for conversation_id in subscriber.scope.conversations:
            self._of_conversation.setdefault(conversation_id, {})[subscriber] = None

    def discard(self, subscriber: Subscriber) -> None:
        self._all.pop(subscriber, None)
        self._of_any.pop(subscriber, None)
        for conversation_id in subscriber.scope.conversations:
            followers = self._of_conversation.get(conversation_id, {})
            followers.pop(subscriber, None)
            if not followers:
                self._of_conversation.pop(conversation_id, None)

    def candidates(self, change: Change) -> list[Subscriber]:
        """Every subscriber whose scope may contain the change."""
        return [*self._of_any, *self._of_conversation.get(change.lane, ())]
