"""What agents do to a conversation: read it, tag it, open and close it, name the contact."""

from airy.actors.commands.outcome import Unknown
from airy.actors.commands.writer import Cause, Writer
from airy.bus.record import Position
from airy.model import metadata
from airy.model.conversation import Conversation
from airy.model.fact import (
    ConversationRead,
    MetadataChanged,
    ProfileRefetchRequested,
    StateChanged,
    TagAdded,
    TagRemoved,
)
from airy.store.api import Store


class ConversationCommands:
    """Each returns the position of its fact, and raises `Unknown` for a conversation nobody knows."""

    def __init__(self, writer: Writer, store: Store) -> None:
        self._writer = writer
        self._store = store

    async def mark_read(self, conversation_id: str, cause: Cause) -> Position:
        conversation = await self._conversation(conversation_id)
        return await self._writer.tell(self._writer.fact(ConversationRead, conversation, cause, reader=cause.caller))

    async def tag(self, conversation_id: str, tag_id: str, cause: Cause) -> Position:
        """The tag need not exist: clients of the original tag with ids they keep themselves."""
        conversation = await self._conversation(conversation_id)
        return await self._writer.tell(self._writer.fact(TagAdded, conversation, cause, tag_id=tag_id))

    async def untag(self, conversation_id: str, tag_id: str, cause: Cause) -> Position:
        conversation = await self._conversation(conversation_id)
        return await self._writer.tell(self._writer.fact(TagRemoved, conversation, cause, tag_id=tag_id))

    async def set_state(self, conversation_id: str, state: str | None, cause: Cause) -> Position:
        """Any word; None removes it."""
        conversation = await self._conversation(conversation_id)
        return await self._writer.tell(self._writer.fact(StateChanged, conversation, cause, state=state))

    async def name_contact(self, conversation_id: str, display_name: str, cause: Cause) -> Position:
        conversation = await self._conversation(conversation_id)
        change = self._writer.fact(
            MetadataChanged,
            conversation,
            cause,
            subject="conversation",
            subject_id=conversation_id,
            set={"contact.display_name": metadata.value(display_name)},
        )
        return await self._writer.tell(change)

    async def refetch_profile(self, conversation_id: str, cause: Cause) -> Position:
        conversation = await self._conversation(conversation_id)
        return await self._writer.tell(self._writer.fact(ProfileRefetchRequested, conversation, cause))

    async def _conversation(self, conversation_id: str) -> Conversation:
        return await known_conversation(self._store, conversation_id)


async def known_conversation(store: Store, conversation_id: str, field: str = "conversation_id") -> Conversation:
    view = await store.conversation(conversation_id)
    if view is None:
        raise Unknown(f"there is no conversation {conversation_id}", field=field)
    return view.conversation
