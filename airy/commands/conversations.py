"""Commands on a conversation: mark read, tag, set state, name the contact, refetch the profile."""

from airy.bus.record import Position
from airy.commands.errors import Conflict, NotFound
from airy.commands.writer import RequestContext, Writer
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
from airy.store.api import StoreQueries


class ConversationCommands:
    """Each returns the position of its fact and raises `NotFound` for an unknown conversation."""

    def __init__(self, writer: Writer, store: StoreQueries) -> None:
        self._writer = writer
        self._store = store

    async def mark_read(self, conversation_id: str, context: RequestContext) -> Position:
        conversation = await self._conversation(conversation_id)
        return await self._writer.append_fact(
            self._writer.fact(ConversationRead, conversation, context, reader=context.caller)
        )

    async def tag(self, conversation_id: str, tag_id: str, context: RequestContext) -> Position:
        """The tag need not exist: clients of the original use ids of their own."""
        conversation = await self._conversation(conversation_id)
        return await self._writer.append_fact(self._writer.fact(TagAdded, conversation, context, tag_id=tag_id))

    async def untag(self, conversation_id: str, tag_id: str, context: RequestContext) -> Position:
        conversation = await self._conversation(conversation_id)
        return await self._writer.append_fact(self._writer.fact(TagRemoved, conversation, context, tag_id=tag_id))

    async def set_state(
        self, conversation_id: str, state: str | None, context: RequestContext, *, version: int | None = None
    ) -> Position:
        """`state` is free text; None removes it. `version`: raises `Conflict` if another request changed the state to
        another one since the caller read it.
        """
        conversation = await self._conversation(conversation_id)
        change = self._writer.fact(StateChanged, conversation, context, state=state, base=version)
        position = await self._writer.append_fact(change)
        if version is not None and not await self._store.accepted(conversation_id, change.id):
            now = await self._conversation(conversation_id)
            if now.state != state:
                message = (
                    f"the state was changed to {now.state or 'none'}: "
                    f"its version is {now.state_sequence}, not {version}; read the conversation again"
                )
                raise Conflict(message, field="version")
        return position

    async def name_contact(self, conversation_id: str, display_name: str, context: RequestContext) -> Position:
        conversation = await self._conversation(conversation_id)
        change = self._writer.fact(
            MetadataChanged,
            conversation,
            context,
            subject="conversation",
            subject_id=conversation_id,
            set={"contact.display_name": metadata.value(display_name)},
        )
        return await self._writer.append_fact(change)

    async def refetch_profile(self, conversation_id: str, context: RequestContext) -> Position:
        conversation = await self._conversation(conversation_id)
        return await self._writer.append_fact(self._writer.fact(ProfileRefetchRequested, conversation, context))

    async def _conversation(self, conversation_id: str) -> Conversation:
        return await known_conversation(self._store, conversation_id)


async def known_conversation(store: StoreQueries, conversation_id: str, field: str = "conversation_id") -> Conversation:
    view = await store.conversation(conversation_id)
    if view is None:
        raise NotFound(f"there is no conversation {conversation_id}", field=field)
    return view.conversation
