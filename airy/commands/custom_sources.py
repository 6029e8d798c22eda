"""Custom sources: their entities and tokens, their channels, and what they bring in."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from airy import topics
from airy.bus.record import Position
from airy.commands.channel_secrets import ChannelSecrets
from airy.commands.custom_source_tokens import CustomSourceTokens
from airy.commands.entity_writer import EntityWriter
from airy.commands.errors import Conflict, Forbidden, NotFound
from airy.commands.writer import RequestContext, Writer, Written
from airy.egress import UNRESTRICTED, EgressPolicy, check_url
from airy.errors import Refused
from airy.model import ids, metadata
from airy.model.entity import Channel, CustomSource
from airy.seal import Sealer
from airy.secret import Secret
from airy.sources.catalogue import BY_NAME, KINDS
from airy.sources.custom.batch import Batch
from airy.sources.custom.ingest import Known, facts_of
from airy.sources.custom.spec import SOURCE_ID_CHARACTERS_MAX
from airy.store.api import StoreQueries

SOURCES_MAX = 1_000
TOKENS_MAX = 2  # the one in use, and the one that is rotated out

Refresh = Callable[[], Awaitable[None]]
"""Brings the store up to the end of the log, before a request is refused for what it lacks. Raises `Unavailable`."""


async def no_refresh() -> None:
    pass


class SourceChanges(Struct, frozen=True, kw_only=True):
    """None keeps the current value, empty text removes it."""

    name: str | None = None
    image_url: str | None = None
    action_endpoint: str | None = None


class SourceWithToken(Struct, frozen=True):
    source: CustomSource
    token: Secret


class CustomSourceCommands:
    """Management, for administrators."""

    def __init__(
        self, writer: Writer, store: StoreQueries, sealer: Sealer, *, egress_policy: EgressPolicy = UNRESTRICTED
    ) -> None:
        self._writer = writer
        self._store = store
        self._entities = EntityWriter(writer, store)
        self._secrets = ChannelSecrets(sealer)
        self._egress_policy = egress_policy
        self.tokens = CustomSourceTokens(sealer)

    async def create(self, source_id: str, given: SourceChanges, context: RequestContext) -> Written[SourceWithToken]:
        """Raises `Conflict` if there is one of this id, unless the same idempotency key made it: its token is returned
        again.
        """
        _check_id(source_id)
        if len(await self._store.custom_sources()) >= SOURCES_MAX:
            raise Conflict(f"there are {SOURCES_MAX} sources: delete one that is not used", field="source_id")
        creation_id = self._writer.id_for(context, "source", source_id)
        now_ms = self._writer.now_ms()
        token = self.tokens.issue(source_id, self._writer.new_id(), now_ms)
        sealed = self._secrets.seal_source_token(source_id, token)
        created = CustomSource(id=source_id, tokens=(sealed,), creation_id=creation_id, created_at_ms=now_ms)
        created = self._with(created, given)

        async def intent(found: CustomSource | None) -> CustomSource:
            if found is None:
                return created
            if context.key is None or found.creation_id != creation_id:
                raise Conflict("there is a source of this id", field="source_id")
            if _shown(found) != _shown(created):
                raise Conflict("this idempotency key was used for another source", field="idempotency_key")
            return found

        done = await self._entities.put(topics.CUSTOM_SOURCES, source_id, self._store.custom_source, intent)
        return Written(SourceWithToken(done.value, self.tokens_of(done.value)[0]), done.position)

    async def update(self, source_id: str, given: SourceChanges) -> Written[CustomSource]:
        async def updated(source: CustomSource) -> CustomSource:
            return self._with(source, given)

        return await self._entities.update(topics.CUSTOM_SOURCES, source_id, self.known, updated)

    async def rotate_token(self, source_id: str) -> Written[SourceWithToken]:
        """The previous token counts until the next rotation; outbound messages are signed with both."""
        token = self.tokens.issue(source_id, self._writer.new_id(), self._writer.now_ms())
        sealed = self._secrets.seal_source_token(source_id, token)

        async def rotated(source: CustomSource) -> CustomSource:
            return replace(source, tokens=(sealed, *source.tokens)[:TOKENS_MAX])

        done = await self._entities.update(topics.CUSTOM_SOURCES, source_id, self.known, rotated)
        return Written(SourceWithToken(done.value, token), done.position)

    async def delete(self, source_id: str) -> Position | None:
        """With its channels disconnected; conversations stay. Without effect for one that does not exist."""
        position: Position | None = None
        if await self._store.custom_source(source_id) is not None:
            position = await self._entities.delete(topics.CUSTOM_SOURCES, source_id, self.known)
        for channel in await self._store.channels(source=source_id) if source_id not in KINDS else ():
            position = (await self._entities.update(topics.CHANNELS, channel.id, self._channel, _disconnected)).position
        return position

    def tokens_of(self, source: CustomSource) -> list[Secret]:
        """Newest first. Raises `Refused` without the sealing key."""
        return self._secrets.source_tokens(source)

    async def known(self, source_id: str) -> CustomSource:
        found = await self._store.custom_source(source_id)
        if found is None:
            raise NotFound(f"there is no source {source_id}", field="source_id")
        return found

    def _with(self, source: CustomSource, given: SourceChanges) -> CustomSource:
        changes: dict[str, str | None] = {}
        for name in ("name", "image_url", "action_endpoint"):
            text = getattr(given, name)
            if text is not None:
                changes[name] = text or None
        if given.action_endpoint:
            try:
                check_url(given.action_endpoint, self._egress_policy)
            except Refused as error:
                raise Refused(str(error), field="action_endpoint") from error
        return replace(source, **changes)

    async def _channel(self, channel_id: str) -> Channel:
        channel = await self._store.channel(channel_id)
        if channel is None:
            raise NotFound(f"there is no channel {channel_id}", field="channel_id")
        return channel


class IngestCommands:
    """What a source may do with its own token. Every method raises `NotFound` if the source was deleted."""

    def __init__(
        self, writer: Writer, store: StoreQueries, sources: CustomSourceCommands, refresh: Refresh = no_refresh
    ) -> None:
        self._writer = writer
        self._store = store
        self._entities = EntityWriter(writer, store)
        self._sources = sources
        self._refresh = refresh

    async def create_channel(
        self, source_id: str, source_channel_id: str, name: str, given: Mapping[str, object]
    ) -> Written[Channel]:
        """A known id connects its channel again and keeps its metadata. Raises `Refused`."""
        await self._sources.known(source_id)
        try:
            settings = {**metadata.flatten(given), "name": metadata.value(name)}
        except Refused as error:
            raise Refused(str(error), field="metadata") from error
        channel_id = ids.channel_id(source_id, source_channel_id)

        async def connected(known: Channel | None) -> Channel:
            if known is not None and known.source != source_id:
                raise Conflict("this id is taken by a channel of another source", field="source_channel_id")
            before = known.metadata if known else {}
            after = metadata.changed(before, settings, ())
            if after is not None and len(after) > metadata.KEYS_MAX:
                raise Refused(f"a channel has at most {metadata.KEYS_MAX} metadata keys", field="metadata")
            return Channel(
                id=channel_id,
                source=source_id,
                source_channel_id=source_channel_id,
                connected=True,
                metadata=before if after is None else after,
            )

        return await self._entities.put(topics.CHANNELS, channel_id, self._store.channel, connected)

    async def channels(self, source_id: str) -> list[Channel]:
        await self._sources.known(source_id)
        return await self._store.channels(source=source_id)

    async def disconnect(self, source_id: str, channel_id: str) -> Position:
        """Raises `Forbidden` for a channel of another source."""
        await self._sources.known(source_id)

        async def own(wanted: str) -> Channel:
            channel = await self._store.channel(wanted)
            if channel is None:
                raise NotFound(f"there is no channel {wanted}", field="channel_id")
            if channel.source != source_id:
                raise Forbidden("the channel is of another source", field="channel_id")
            return channel

        return (await self._entities.update(topics.CHANNELS, channel_id, own, _disconnected)).position

    async def ingest(self, source_id: str, batch: Batch, context: RequestContext) -> Sequence[Position]:
        """Everything, or nothing. Raises `Refused`, naming the field; `Unavailable` if a part may be in the log: a
        repetition completes it.
        """
        await self._sources.known(source_id)
        now_ms = self._writer.now_ms()
        try:
            facts = facts_of(batch, await self._known(source_id, batch), now_ms=now_ms, cause=context.request_id)
        except Refused:  # another process may have written what the store lacks
            await self._refresh()
            facts = facts_of(batch, await self._known(source_id, batch), now_ms=now_ms, cause=context.request_id)
        return await self._writer.append_all(facts) if facts else ()

    async def _known(self, source_id: str, batch: Batch) -> Known:
        channels = {name: await self._connected(source_id, name) for name in batch.channels()}
        conversations = {
            name: await self._store.conversation(ids.derive(source_id, name)) for name in batch.conversations()
        }
        messages = {name: await self._store.message(ids.derive(source_id, name)) for name in batch.messages_named()}
        for receipt in batch.receipts:
            if receipt.message_id is not None:
                messages[receipt.message_id] = await self._store.message(receipt.message_id)
        return Known(
            source_id=source_id,
            channels={name: each for name, each in channels.items() if each is not None},
            conversations={name: view.conversation for name, view in conversations.items() if view is not None},
            messages={name: each for name, each in messages.items() if each is not None},
        )

    async def _connected(self, source_id: str, source_channel_id: str) -> Channel | None:
        channel = await self._store.channel(ids.channel_id(source_id, source_channel_id))
        return channel if channel is not None and channel.connected and channel.source == source_id else None


async def _disconnected(channel: Channel) -> Channel:
    return replace(channel, connected=False, token=None, secrets={})


def _shown(source: CustomSource) -> tuple[str | None, ...]:
    return source.name, source.image_url, source.action_endpoint


def _check_id(source_id: str) -> None:
    """Raises `Refused`, and `Conflict` for the name of a source or a kind of channel of Airy itself."""
    if len(source_id) > SOURCE_ID_CHARACTERS_MAX:
        raise Refused(f"must have at most {SOURCE_ID_CHARACTERS_MAX} characters", field="source_id")
    if source_id in KINDS or source_id in BY_NAME:
        raise Conflict("this is a source of Airy itself: choose another id", field="source_id")
