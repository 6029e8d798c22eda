"""The state of a conversation with only the declared needs of one fact loaded: any other look-up fails.

What a store beyond a network has while it folds, for batches of one.
"""

from collections.abc import Iterable

from airy.model.conversation import Conversation, Message
from airy.model.fact import Fact
from airy.model.fold_needs import fold_needs
from tests.kit.fold import DictState, latest, under_watermark


class NotLoaded(AssertionError):
    """The fold looked up what `fold_needs` does not declare."""


class LoadedState:
    """`FoldState`. Writes go to `stored` as well."""

    def __init__(self, stored: DictState, fact: Fact) -> None:
        self._stored = stored
        self._needs = fold_needs(fact)
        self._fact_id = fact.id
        self._conversation = stored.conversation()
        last_id = None if self._conversation is None else self._conversation.last_message_id
        by_id = {*self._needs.message_ids, *([] if last_id is None else [last_id])}
        self._messages = {name: stored.message(name) for name in by_id}
        self._by_provider_id = {name: stored.message_by_provider_id(name) for name in self._needs.provider_ids}
        until_ms = self._needs.open_until_ms
        self._open = [] if until_ms is None else list(stored.outbound_up_to(until_ms, above_ms=0))
        newest = [message for message in stored.messages() if not message.deleted][-2:]
        self._newest = newest if self._needs.may_delete else []
        self._share_messages()

    def _share_messages(self) -> None:
        """One struct per message, however it was found, as the fold changes it in place."""
        found = [*self._messages.values(), *self._by_provider_id.values(), *self._open, *self._newest]
        self._loaded = {message.id: message for message in reversed(found) if message is not None}

    def _one(self, message: Message | None) -> Message | None:
        return None if message is None else self._loaded[message.id]

    def conversation(self) -> Conversation | None:
        return self._conversation

    def put_conversation(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._stored.put_conversation(conversation)

    def message(self, message_id: str) -> Message | None:
        if message_id in self._loaded:
            return self._loaded[message_id]
        if message_id not in self._messages:
            raise NotLoaded(f"message {message_id}")
        return None

    def message_by_provider_id(self, provider_id: str) -> Message | None:
        if provider_id not in self._by_provider_id:
            raise NotLoaded(f"message by provider id {provider_id}")
        found = self._one(self._by_provider_id[provider_id])
        return found if found is not None and found.provider_id == provider_id else None

    def outbound_up_to(self, at_ms: int, *, above_ms: int) -> Iterable[Message]:
        if self._needs.open_until_ms is None or at_ms > self._needs.open_until_ms:
            raise NotLoaded(f"messages up to {at_ms}")
        shared = [self._loaded[message.id] for message in self._open]
        return [message for message in shared if under_watermark(message, above_ms, at_ms)]

    def latest_message(self, *, excluding: str) -> Message | None:
        if not self._needs.may_delete:
            raise NotLoaded("the latest message")
        return latest((self._loaded[message.id] for message in self._newest), excluding)

    def put_message(self, message: Message) -> None:
        self._loaded[message.id] = message
        self._stored.put_message(message)

    def seen(self, fact_id: str) -> bool:
        if fact_id != self._fact_id:
            raise NotLoaded(f"whether {fact_id} was seen")
        return self._stored.seen(fact_id)

    def mark_seen(self, fact_id: str, *, accepted: bool) -> None:
        self._stored.mark_seen(fact_id, accepted=accepted)
