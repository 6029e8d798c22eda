"""Connects, updates and disconnects channels. Tokens are sealed before they are written."""

from collections.abc import Sequence
from typing import Protocol

import structlog
from msgspec import Raw, Struct
from msgspec.structs import replace

from airy import topics
from airy.bus.record import Position
from airy.commands.errors import NotFound
from airy.commands.writer import Writer, Written
from airy.errors import Refused, Unavailable
from airy.model import ids, metadata
from airy.model.entity import Channel
from airy.seal import Sealer, seal_context
from airy.secret import Secret
from airy.sources.api import Account
from airy.store.api import EntityReader

FACEBOOK = "facebook"

log = structlog.get_logger("airy.channels")


class ConnectedAccount(Struct, frozen=True):
    """A provider account after a successful connect, with the token to use from then on."""

    name: str
    image_url: str | None
    token: Secret


class ProviderAccounts(Protocol):
    """A provider's management API. Raises `Refused` with the provider's message, `Unavailable` if a retry may help."""

    async def connect(self, account_id: str, token: Secret) -> ConnectedAccount: ...
    async def explore(self, token: Secret, connected: frozenset[str]) -> Sequence[Account]: ...
    async def disconnect(self, account_id: str, token: Secret) -> str | None:
        """Unsubscribe from its webhooks. Returns the reason if that failed, else None."""
        ...


class ChannelCommands:
    def __init__(self, writer: Writer, store: EntityReader, sealer: Sealer, facebook: ProviderAccounts) -> None:
        self._writer = writer
        self._store = store
        self._sealer = sealer
        self._facebook = facebook

    async def update(self, channel_id: str, *, name: str | None, image_url: str | None) -> Written[Channel]:
        channel = await self._store.channel(channel_id)
        if channel is None or not channel.connected:
            raise NotFound(f"there is no connected channel {channel_id}", field="channel_id")
        return await self._put(replace(channel, metadata={**channel.metadata, **_display_metadata(name, image_url)}))

    async def connect_facebook(
        self, page_id: str, token: Secret, *, name: str | None, image_url: str | None
    ) -> Written[Channel]:
        """Connecting a known page again reconnects its channel and keeps its metadata."""
        page = await self._facebook.connect(page_id, token)
        channel_id = ids.channel_id(FACEBOOK, page_id)
        known = await self._store.channel(channel_id)
        display = _display_metadata(name or page.name, image_url or page.image_url)
        return await self._put(
            Channel(
                id=channel_id,
                source=FACEBOOK,
                source_channel_id=page_id,
                connected=True,
                token=self._sealer.seal(page.token.reveal(), seal_context(topics.CHANNELS.name, channel_id, "token")),
                metadata={**(known.metadata if known else {}), **display, "page_id": metadata.value(page_id)},
                updated_at_ms=known.updated_at_ms if known else 0,
            )
        )

    async def explore_facebook(self, token: Secret) -> Sequence[Account]:
        connected = frozenset(channel.source_channel_id for channel in await self._store.channels(source=FACEBOOK))
        return await self._facebook.explore(token, connected)

    async def disconnect(self, channel_id: str) -> Position:
        """Unsubscribes at the provider, then drops the token. Accepts channels of any source, because clients of the
        original send every disconnect to the path of one source.
        """
        channel = await self._store.channel(channel_id)
        if channel is None:
            raise NotFound(f"there is no channel {channel_id}", field="channel_id")
        await self._unsubscribe(channel)
        return (await self._put(replace(channel, connected=False, token=None))).position

    async def _unsubscribe(self, channel: Channel) -> None:
        """Runs before the token is dropped, so that a failed disconnect can be repeated as a whole. A failure here does
        not block the disconnect: webhooks of a page that stays subscribed are parked.
        """
        if channel.source != FACEBOOK or channel.token is None:
            return
        try:
            token = Secret(self._sealer.unseal(channel.token, seal_context(topics.CHANNELS.name, channel.id, "token")))
            reason = await self._facebook.disconnect(channel.source_channel_id, token)
        except (Refused, Unavailable) as error:
            reason = str(error)
        if reason is not None:
            log.warning("channel.still_subscribed", channel_id=channel.id, reason=reason)

    async def _put(self, channel: Channel) -> Written[Channel]:
        channel = replace(channel, updated_at_ms=self._writer.next_timestamp(channel.updated_at_ms))
        return Written(channel, await self._writer.put_entity(topics.CHANNELS, channel.id, channel))


def _display_metadata(name: str | None, image_url: str | None) -> dict[str, Raw]:
    given = {"name": name, "image_url": image_url}
    return {key: metadata.value(text) for key, text in given.items() if text is not None}
