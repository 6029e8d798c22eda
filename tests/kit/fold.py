"""The reference fold: the fold over dictionaries, without store, batches or caches. Every store must agree with it.

It keeps encoded copies, so that no struct is shared by accident and every fold reads what a restart would read.
"""

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from airy.model.change import Change
from airy.model.conversation import Conversation, Message
from airy.model.delivery_state import WATERMARK_STATES
from airy.model.fact import Fact
from airy.model.fold import Folded, fold


def under_watermark(message: Message, above_ms: int, at_ms: int) -> bool:
    outbound = message.delivery in WATERMARK_STATES and not message.from_contact
    return outbound and above_ms < message.dispatched_at_ms <= at_ms


def latest(messages: Iterable[Message], excluding: str) -> Message | None:
    rest = [message for message in messages if not message.deleted and message.id != excluding]
    return max(rest, key=lambda message: message.sequence, default=None)


class DictState:
    """`FoldState` of one conversation."""

    def __init__(self) -> None:
        self._conversation: bytes | None = None
        self._messages: dict[str, bytes] = {}
        self.seen_facts: dict[str, bool] = {}
        self.put_ids: list[str] = []  # messages, since this state was made or copied

    def conversation(self) -> Conversation | None:
        encoded = self._conversation
        return None if encoded is None else msgspec.json.decode(encoded, type=Conversation)

    def put_conversation(self, conversation: Conversation) -> None:
        self._conversation = msgspec.json.encode(conversation)

    def message(self, message_id: str) -> Message | None:
        encoded = self._messages.get(message_id)
        return None if encoded is None else msgspec.json.decode(encoded, type=Message)

    def messages(self) -> list[Message]:
        """All of them, by sequence."""
        found = [msgspec.json.decode(encoded, type=Message) for encoded in self._messages.values()]
        return sorted(found, key=lambda message: message.sequence)

    def message_by_provider_id(self, provider_id: str) -> Message | None:
        return next((message for message in self.messages() if message.provider_id == provider_id), None)

    def outbound_up_to(self, at_ms: int, *, above_ms: int) -> Iterable[Message]:
        return [message for message in self.messages() if under_watermark(message, above_ms, at_ms)]

    def latest_message(self, *, excluding: str) -> Message | None:
        return latest(self.messages(), excluding)

    def put_message(self, message: Message) -> None:
        holder = self.message_by_provider_id(message.provider_id) if message.provider_id is not None else None
        assert holder is None or holder.id == message.id, f"{message.id} and {holder.id} share {message.provider_id}"
        self._messages[message.id] = msgspec.json.encode(message)
        self.put_ids.append(message.id)

    def seen(self, fact_id: str) -> bool:
        return fact_id in self.seen_facts

    def mark_seen(self, fact_id: str, *, accepted: bool) -> None:
        assert fact_id not in self.seen_facts, f"{fact_id} was marked as seen twice"
        self.seen_facts[fact_id] = accepted

    def copy(self) -> "DictState":
        """Independent of this one: what is stored is encoded, and never changed in place."""
        state = type(self)()
        state._conversation = self._conversation
        state._messages = dict(self._messages)
        state.seen_facts = dict(self.seen_facts)
        return state

    def snapshot(self) -> bytes:
        """The whole state as one encoded value: equal snapshots are equal states."""
        return msgspec.json.encode(
            [self._conversation, sorted(self._messages.items()), sorted(self.seen_facts.items())],
        )

    @classmethod
    def restored(cls, snapshot: bytes) -> "DictState":
        conversation, messages, seen_facts = msgspec.json.decode(
            snapshot,
            type=tuple[bytes | None, list[tuple[str, bytes]], list[tuple[str, bool]]],
        )
        state = cls()
        state._conversation = conversation
        state._messages = dict(messages)
        state.seen_facts = dict(seen_facts)
        return state


class LiveState:
    """`FoldState` over the structs themselves, as a store holds them within a batch; the cheapest implementation."""

    def __init__(self) -> None:
        self._conversation: Conversation | None = None
        self._messages: dict[str, Message] = {}
        self._by_provider_id: dict[str, Message] = {}
        self._seen_facts: dict[str, bool] = {}

    def conversation(self) -> Conversation | None:
        return self._conversation

    def put_conversation(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def message(self, message_id: str) -> Message | None:
        return self._messages.get(message_id)

    def message_by_provider_id(self, provider_id: str) -> Message | None:
        message = self._by_provider_id.get(provider_id)
        return message if message is not None and message.provider_id == provider_id else None

    def outbound_up_to(self, at_ms: int, *, above_ms: int) -> Iterable[Message]:
        return [message for message in self._messages.values() if under_watermark(message, above_ms, at_ms)]

    def latest_message(self, *, excluding: str) -> Message | None:
        return latest(self._messages.values(), excluding)

    def put_message(self, message: Message) -> None:
        self._messages[message.id] = message
        if message.provider_id is not None:
            self._by_provider_id[message.provider_id] = message

    def seen(self, fact_id: str) -> bool:
        return fact_id in self._seen_facts

    def mark_seen(self, fact_id: str, *, accepted: bool) -> None:
        self._seen_facts[fact_id] = accepted

    def encoded(self) -> DictState:
        """A copy with encoded structs."""
        state = DictState()
        if self._conversation is not None:
            state.put_conversation(self._conversation)
        for message in self._messages.values():
            state.put_message(message)
        state.seen_facts = dict(self._seen_facts)
        return state


class ReferenceFold:
    """The fold of a log of many conversations."""

    def __init__(self) -> None:
        self.states: dict[str, DictState] = {}
        self.changes: list[Change] = []
        self.accepted: dict[str, bool] = {}  # by fact id; of duplicates, the first

    def fold(self, fact: Fact) -> Folded:
        folded = fold(self.state(fact.conversation_id), fact)
        self.changes.extend(folded.changes)
        self.accepted.setdefault(fact.id, folded.accepted)
        return folded

    def fold_all(self, facts: Iterable[Fact]) -> "ReferenceFold":
        for fact in facts:
            self.fold(fact)
        return self

    def state(self, conversation_id: str) -> DictState:
        return self.states.setdefault(conversation_id, DictState())

    def conversation(self, conversation_id: str) -> Conversation:
        conversation = self.state(conversation_id).conversation()
        assert conversation is not None, f"no conversation {conversation_id}"
        return conversation

    def message(self, conversation_id: str, message_id: str) -> Message:
        message = self.state(conversation_id).message(message_id)
        assert message is not None, f"no message {message_id}"
        return message

    def digest(self) -> str:
        """Over all states, independent of the order of conversations."""
        whole = sha256()
        for conversation_id in sorted(self.states):
            whole.update(self.states[conversation_id].snapshot())
        return whole.hexdigest()


def fold_all(facts: Iterable[Fact]) -> ReferenceFold:
    return ReferenceFold().fold_all(facts)
