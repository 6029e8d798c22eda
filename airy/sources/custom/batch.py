"""What one request to `sources.webhook` brings in, validated field by field. Ids are those of the source."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Raw, Struct

from airy.model.delivery_state import DeliveryState

ITEMS_MAX = 500  # of each kind in one request


class IngestedMessage(Struct, frozen=True, kw_only=True):
    source_message_id: str
    source_conversation_id: str
    source_channel_id: str
    source_sender_id: str
    content: Raw
    from_contact: bool
    sent_at_ms: int


class IngestedMetadata(Struct, frozen=True, kw_only=True):
    """`source_id`: of the conversation or the message."""

    namespace: Literal["conversation", "message"]
    source_id: str
    metadata: dict[str, object]


class ProviderMessageReference(Struct, frozen=True, kw_only=True):
    source_conversation_id: str
    source_message_id: str


class IngestedReceipt(Struct, frozen=True, kw_only=True):
    """Names the message by its id at the source, by `message_id` as the action endpoint was given it, or by both."""

    source_conversation_id: str
    source_message_id: str | None
    message_id: str | None
    state: DeliveryState  # sent, delivered, read or failed
    error: str | None
    at_ms: int | None


class IngestedReaction(ProviderMessageReference, frozen=True, kw_only=True):
    source_sender_id: str
    emoji: str | None  # None: removed
    at_ms: int


class IngestedDeletion(ProviderMessageReference, frozen=True, kw_only=True):
    pass


class Batch(Struct, frozen=True, kw_only=True):
    messages: Sequence[IngestedMessage] = ()
    metadata: Sequence[IngestedMetadata] = ()
    receipts: Sequence[IngestedReceipt] = ()
    reactions: Sequence[IngestedReaction] = ()
    deletions: Sequence[IngestedDeletion] = ()

    def conversations(self) -> set[str]:
        """The ids of all conversations that are named."""
        named = {each.source_conversation_id for each in self.messages}
        named |= {each.source_conversation_id for each in self.receipts}
        named |= {each.source_conversation_id for each in (*self.reactions, *self.deletions)}
        return named | {each.source_id for each in self.metadata if each.namespace == "conversation"}

    def channels(self) -> set[str]:
        return {each.source_channel_id for each in self.messages}

    def messages_named(self) -> set[str]:
        """The ids at the source of the messages that are brought in or given metadata."""
        brought = {each.source_message_id for each in self.messages}
        return brought | {each.source_id for each in self.metadata if each.namespace == "message"}
