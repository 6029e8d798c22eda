"""The reference: a fold over dictionaries, with no store, no batches and no cleverness to be wrong in.

What it answers is what every store must answer. Keeps encoded copies, so that nothing is shared by accident
and every fold goes through what a restart would read back.
"""

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from airy.model.change import Change
from airy.model.conversation import Conversation, Message
from airy.model.delivery import Delivery
from airy.model.fact import Fact
from airy.model.fold import Folded, fold

_IN_REACH = frozenset({Delivery.UNKNOWN, Delivery.SENT, Delivery.DELIVERED})


def in_reach(message: Message, above_ms: int, at_ms: int) -> bool:
    ours = message.delivery in _IN_REACH and not message.from_contact
    return ours and above_ms < message.out_at_ms <= at_ms


def latest(messages: Iterable[Message], excluding: str) -> Message | None:
    rest = [message for message in messages if not message.deleted and message.id != excluding]
    return max(rest, key=lambda message: (message.sent_at_ms, message.sequence), default=None)


class DictState:
    """`FoldState` of one conversation."""

    def __init__(self) -> None:
        self._conversation: bytes | None = None
        self._messages: dict[str, bytes] = {}
        self.memory: dict[str, bool] = {}

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

    def ours_up_to(self, at_ms: int, *, above_ms: int) -> Iterable[Message]:
        return [message for message in self.messages() if in_reach(message, above_ms, at_ms)]

    def latest_message(self, *, excluding: str) -> Message | None:
        return latest(self.messages(), excluding)

    def put_message(self, message: Message) -> None:
        holder = self.message_by_provider_id(message.provider_id) if message.provider_id is not None else None
        assert holder is None or holder.id == message.id, f"{message.id} and {holder.id} share {message.provider_id}"
        self._messages[message.id] = msgspec.json.encode(message)

    def seen(self, fact_id: str) -> bool:
        return fact_id in self.memory

    def remember(self, fact_id: str, *, accepted: bool) -> None:
        assert fact_id not in self.memory, f"{fact_id} was remembered twice"
        self.memory[fact_id] = accepted

    def snapshot(self) -> bytes:
        """Everything, as one encoded value: equal snapshots are equal states."""
        return msgspec.json.encode(
            [self._conversation, sorted(self._messages.items()), sorted(self.memory.items())],
        )

    @classmethod
    def restored(cls, snapshot: bytes) -> "DictState":
        conversation, messages, memory = msgspec.json.decode(
            snapshot,
            type=tuple[bytes | None, list[tuple[str, bytes]], list[tuple[str, bool]]],
        )
        state = cls()
        state._conversation = conversation
        state._messages = dict(messages)
        state.memory = dict(memory)
        return state


class LiveState:
    """`FoldState` over the structs themselves: what a store has in memory within a batch, and the cheapest there is."""

    def __init__(self) -> None:
        self._conversation: Conversation | None = None
        self._messages: dict[str, Message] = {}
        self._by_provider_id: dict[str, Message] = {}
        self._memory: dict[str, bool] = {}

    def conversation(self) -> Conversation | None:
        return self._conversation

    def put_conversation(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def message(self, message_id: str) -> Message | None:
        return self._messages.get(message_id)

    def message_by_provider_id(self, provider_id: str) -> Message | None:
        message = self._by_provider_id.get(provider_id)
        return message if message is not None and message.provider_id == provider_id else None

    def ours_up_to(self, at_ms: int, *, above_ms: int) -> Iterable[Message]:
        return [message for message in self._messages.values() if in_reach(message, above_ms, at_ms)]

    def latest_message(self, *, excluding: str) -> Message | None:
        return latest(self._messages.values(), excluding)

    def put_message(self, message: Message) -> None:
        self._messages[message.id] = message
        if message.provider_id is not None:
            self._by_provider_id[message.provider_id] = message

    def seen(self, fact_id: str) -> bool:
        return fact_id in self._memory

    def remember(self, fact_id: str, *, accepted: bool) -> None:
        self._memory[fact_id] = accepted

    def frozen(self) -> DictState:
        """The same, encoded."""
        state = DictState()
        if self._conversation is not None:
            state.put_conversation(self._conversation)
        for message in self._messages.values():
            state.put_message(message)
        state.memory = dict(self._memory)
        return state


class Reference:
    """The fold of a log of many conversations."""

    def __init__(self) -> None:
        self.states: dict[str, DictState] = {}
        self.changes: list[Change] = []
        self.accepted: dict[str, bool] = {}  # by fact id; the first answer counts

    def fold(self, fact: Fact) -> Folded:
        folded = fold(self.state(fact.conversation_id), fact)
        self.changes.extend(folded.changes)
        self.accepted.setdefault(fact.id, folded.accepted)
        return folded

    def fold_all(self, facts: Iterable[Fact]) -> "Reference":
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
        """Over all states, whatever the order in which conversations came."""
        whole = sha256()
        for conversation_id in sorted(self.states):
            whole.update(self.states[conversation_id].snapshot())
        return whole.hexdigest()


def fold_all(facts: Iterable[Fact]) -> Reference:
    return Reference().fold_all(facts)
