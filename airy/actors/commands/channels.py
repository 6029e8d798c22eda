"""Channels: connected and disconnected at the provider, described by metadata. Tokens are sealed before
they are written.
"""

from collections.abc import Sequence
from typing import Protocol

import structlog
from msgspec import Raw, Struct
from msgspec.structs import replace

from airy import topics
from airy.actors.commands.outcome import Unknown
from airy.actors.commands.writer import Done, Writer
from airy.bus.record import Position
from airy.errors import Refused, Unavailable
from airy.model import ids, metadata
from airy.model.entity import Channel
from airy.seal import Sealer, place
from airy.secret import Secret
from airy.sources.api import Account
from airy.store.api import Store

FACEBOOK = "facebook"

log = structlog.get_logger("airy.channels")


class Page(Struct, frozen=True):
    """A provider account that is ours to use from now on."""

    name: str
    image_url: str | None
    token: Secret


class Accounts(Protocol):
    """A provider's management API.

    Raises `Refused` with the provider's words, `Unavailable` when asking again may help.
    """

    async def connect(self, account_id: str, token: Secret) -> Page: ...
    async def explore(self, token: Secret, connected: frozenset[str]) -> Sequence[Account]: ...
    async def disconnect(self, account_id: str, token: Secret) -> str | None:
        """Ask for no more of its webhooks. Returns why that did not work; None if it did."""
        ...


class ChannelCommands:
    def __init__(self, writer: Writer, store: Store, sealer: Sealer, facebook: Accounts) -> None:
        self._writer = writer
        self._store = store
        self._sealer = sealer
        self._facebook = facebook

    async def update(self, channel_id: str, *, name: str | None, image_url: str | None) -> Done[Channel]:
        channel = await self._store.channel(channel_id)
        if channel is None or not channel.connected:
            raise Unknown(f"there is no connected channel {channel_id}", field="channel_id")
        return await self._put(replace(channel, metadata={**channel.metadata, **_shown(name, image_url)}))

    async def connect_facebook(
        self, page_id: str, token: Secret, *, name: str | None, image_url: str | None
    ) -> Done[Channel]:
        """The same page again revives its channel, with everything that was set on it."""
        page = await self._facebook.connect(page_id, token)
        channel_id = ids.channel_id(FACEBOOK, page_id)
        known = await self._store.channel(channel_id)
        shown = _shown(name or page.name, image_url or page.image_url)
        return await self._put(
            Channel(
                id=channel_id,
                source=FACEBOOK,
                source_channel_id=page_id,
                connected=True,
                token=self._sealer.seal(page.token.reveal(), place(topics.CHANNELS.name, channel_id, "token")),
                metadata={**(known.metadata if known else {}), **shown, "page_id": metadata.value(page_id)},
                updated_at_ms=known.updated_at_ms if known else 0,
            )
        )

    async def explore_facebook(self, token: Secret) -> Sequence[Account]:
        connected = frozenset(channel.source_channel_id for channel in await self._store.channels())
        return await self._facebook.explore(token, connected)

    async def disconnect(self, channel_id: str) -> Position:
        """Tells the provider, then forgets the token. Of any source: clients of the original send every channel
        to the first path they used.
        """
        channel = await self._store.channel(channel_id)
        if channel is None:
            raise Unknown(f"there is no channel {channel_id}", field="channel_id")
        await self._leave(channel)
        return (await self._put(replace(channel, connected=False, token=None))).position

    async def _leave(self, channel: Channel) -> None:
        """Before the token is forgotten, so that a disconnect that fails here can be repeated as a whole; and never in
        its way: what a page that is still subscribed sends us is parked.
        """
        if channel.source != FACEBOOK or channel.token is None:
            return
        try:
            token = Secret(self._sealer.unseal(channel.token, place(topics.CHANNELS.name, channel.id, "token")))
            reason = await self._facebook.disconnect(channel.source_channel_id, token)
        except (Refused, Unavailable) as error:
            reason = str(error)
        if reason is not None:
            log.warning("channel.still_subscribed", channel_id=channel.id, reason=reason)

    async def _put(self, channel: Channel) -> Done[Channel]:
        channel = replace(channel, updated_at_ms=self._writer.later_than(channel.updated_at_ms))
        return Done(channel, await self._writer.put(topics.CHANNELS, channel.id, channel))


def _shown(name: str | None, image_url: str | None) -> dict[str, Raw]:
    given = {"name": name, "image_url": image_url}
    return {key: metadata.value(text) for key, text in given.items() if text is not None}
