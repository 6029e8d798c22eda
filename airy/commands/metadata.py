"""Metadata that clients set: below `user_data` of conversations, messages and channels, and suggested replies."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Raw
from msgspec.structs import replace

from airy import topics
from airy.bus.record import Position
from airy.commands.conversations import known_conversation
from airy.commands.entity_writer import EntityWriter
from airy.commands.errors import Conflict, NotFound
from airy.commands.writer import RequestContext, Writer, Written
from airy.errors import Refused
from airy.model import metadata
from airy.model.conversation import Conversation, Message
from airy.model.entity import Channel
from airy.model.fact import MetadataChanged
from airy.model.metadata import Flat
from airy.store.api import StoreQueries

Subject = Literal["message", "conversation", "channel"]
PREFIX = "user_data"
SUGGESTIONS = "suggestions"


class MetadataCommands:
    """All keys of one request are one fact: they are set together or not at all."""

    def __init__(self, writer: Writer, store: StoreQueries) -> None:
        self._writer = writer
        self._store = store
        self._entities = EntityWriter(writer, store)

    async def upsert(self, subject: Subject, subject_id: str, data: Raw, context: RequestContext) -> Position:
        return await self._change(subject, subject_id, metadata.flatten(data, PREFIX), (), context)

    async def remove(self, subject: Subject, subject_id: str, keys: Sequence[str], context: RequestContext) -> Position:
        """Removes each key with everything below it."""
        return await self._change(subject, subject_id, {}, tuple(f"{PREFIX}.{key}" for key in keys), context)

    async def suggest_replies(
        self, message_id: str, suggestions: Mapping[str, Raw], context: RequestContext
    ) -> Written[Message]:
        """The message with them. The content of each is one value, kept as it is; another one of the same id is
        replaced, the others stay.
        """
        settings = {f"{SUGGESTIONS}.{name}.content": content for name, content in suggestions.items()}
        replaced = tuple(f"{SUGGESTIONS}.{name}" for name in suggestions)
        position = await self._change("message", message_id, settings, replaced, context, field="message_id")
        return Written(await self._known_message(message_id, "message_id"), position)

    async def _change(
        self,
        subject: Subject,
        subject_id: str,
        settings: Flat,
        removals: tuple[str, ...],
        context: RequestContext,
        *,
        field: str = "id",
    ) -> Position:
        if subject == "channel":
            return await self._change_channel(subject_id, settings, removals)
        change = self._writer.fact(
            MetadataChanged,
            await self._known(subject, subject_id, field),
            context,
            subject=subject,
            subject_id=subject_id,
            set=settings,
            remove=removals,
        )
        position = await self._writer.append_fact(change)
        if not await self._store.accepted(change.conversation_id, change.id):
            now = await self._known(subject, subject_id, field)
            if metadata.changed(now.metadata, settings, removals) is not None:
                raise too_many(subject, "data" if field == "id" else SUGGESTIONS)
        return position  # accepted, or rejected because nothing changes

    async def _change_channel(self, channel_id: str, settings: Flat, removals: tuple[str, ...]) -> Position:
        async def updated(channel: Channel) -> Channel:
            changed = metadata.changed(channel.metadata, settings, removals)
            after = channel.metadata if changed is None else changed
            if len(after) > metadata.KEYS_MAX:
                raise too_many("channel")
            return replace(channel, metadata=after)

        return (await self._entities.update(topics.CHANNELS, channel_id, self._known_channel, updated)).position

    async def _known_channel(self, channel_id: str) -> Channel:
        channel = await self._store.channel(channel_id)
        if channel is None:
            raise NotFound(f"there is no channel {channel_id}", field="id")
        return channel

    async def _known(self, subject: Subject, subject_id: str, field: str) -> Conversation | Message:
        if subject == "conversation":
            return await known_conversation(self._store, subject_id, field=field)
        return await self._known_message(subject_id, field)

    async def _known_message(self, message_id: str, field: str) -> Message:
        message = await self._store.message(message_id)
        if message is None or message.deleted:
            raise NotFound(f"there is no message {message_id}", field=field)
        if not message.channel_id:
            raise Conflict("the message waits for its conversation", field=field)
        return message


def too_many(subject: Subject, field: str = "data") -> Refused:
    return Refused(f"a {subject} has at most {metadata.KEYS_MAX} metadata keys", field=field)
