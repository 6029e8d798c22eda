"""Connects, updates and disconnects channels of every kind. Credentials are sealed before they are written."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import structlog
from msgspec import Raw, Struct
from msgspec.structs import replace

from airy import topics
from airy.bus.record import Position
from airy.commands.channel_secrets import TOKEN, ChannelSecrets
from airy.commands.entity_writer import EntityWriter
from airy.commands.errors import Conflict, NotFound
from airy.commands.provider_calls import ProviderCalls
from airy.commands.writer import RequestContext, Writer, Written
from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.model import channel_health, ids, metadata
from airy.model.entity import Channel
from airy.sources.abilities import Explorer
from airy.sources.api import Account, AccountKey, Checked, Connected, Installation, Setting, Target
from airy.sources.catalogue import spec_of
from airy.sources.spec import ChannelForm, Kind, SourceSpec
from airy.store.api import EntityReader

log = structlog.get_logger("airy.channels")


class _Superseded(Exception):
    """There is nothing to write."""


class ChannelSource(Protocol):
    """The part of a source that connects channels. Raises `Refused` with the provider's message, `Unavailable` if a
    retry may help.
    """

    spec: SourceSpec

    async def connect(
        self, client: HttpClient, kind: str, form: ChannelForm, installation: Installation
    ) -> Connected: ...
    async def disconnect(self, client: HttpClient, target: Target, others: Collection[Channel]) -> str | None: ...


SourceOf = Callable[[str], ChannelSource | None]
"""By kind of channel; None if no source of that kind is enabled."""


class ConnectResult(Struct, frozen=True):
    """A channel after its connect, and what is left to do at the provider by hand."""

    channel: Channel
    instructions: str
    settings: Sequence[Setting]


class ChannelCommands:
    def __init__(
        self,
        writer: Writer,
        store: EntityReader,
        secrets: ChannelSecrets,
        source_of: SourceOf,
        client: HttpClient,
        installation: Installation,
        calls: ProviderCalls,
    ) -> None:
        self._writer = writer
        self._entities = EntityWriter(writer, store)
        self._store = store
        self._secrets = secrets
        self._source_of = source_of
        self._client = client
        self._installation = installation
        self._calls = calls

    def webhook_url(self, channel: Channel) -> str | None:
        """The address of its webhooks, to be pasted at its provider; None if there is none, or it is not known."""
        return spec_of(channel.source).webhook_url(self._installation.public_url, channel.id)

    async def update(self, channel_id: str, *, name: str | None, image_url: str | None) -> Written[Channel]:
        async def updated(channel: Channel) -> Channel:
            if not channel.connected:
                raise NotFound(f"there is no connected channel {channel_id}", field="channel_id")
            return replace(channel, metadata={**channel.metadata, **_display_metadata(name, image_url)})

        return await self._entities.update(topics.CHANNELS, channel_id, self._known, updated)

    async def connect(self, kind: str, form: ChannelForm, context: RequestContext) -> Written[ConnectResult]:
        """Connecting a known account again reconnects its channel and keeps its metadata. Where every connect makes a
        channel, a repeated idempotency key returns the same one; raises `Conflict` if its name differs.
        """
        source = self._source(kind)
        done = await self._calls.make(
            source.spec.name,
            ("connect", kind, form),
            lambda: source.connect(self._client, kind, form, self._installation),
        )
        declared = _kind(source.spec, kind)
        new_each_time, signer = declared.channel_per_connect, declared.webhook_credential
        channel_id = (
            self._writer.id_for(context, "channel", kind)
            if new_each_time
            else ids.channel_id(declared.namespace, done.account)
        )
        sealed = dict(self._secrets.seal(channel_id, done.credentials))
        token = sealed.pop(TOKEN, None)

        async def connected(known: Channel | None) -> Channel:
            if new_each_time and known is not None:
                return _same_account(known, done.account)
            return Channel(
                id=channel_id,
                source=kind,
                source_channel_id=done.account,
                connected=True,
                token=token,
                secrets=sealed,
                previous_secret=self._secrets.replaced(
                    known, signer, done.credentials.get(signer), self._writer.now_ms()
                ),
                metadata={
                    **(channel_health.forgotten(known.metadata) if known else {}),
                    **_display_metadata(done.name, done.image_url),
                    **{key: metadata.value(text) for key, text in done.metadata.items()},
                    **channel_health.expiry(done.credentials_valid_s, self._writer.now_ms()),
                },
            )

        written = await self._entities.put(topics.CHANNELS, channel_id, self._store.channel, connected)
        return Written(ConnectResult(written.value, done.instructions, done.settings), written.position)

    async def configure(self, kind: str, channel_id: str, settings: Mapping[str, Raw]) -> Written[Channel]:
        """Set metadata of a connected channel of this kind; they are in every answer about it. Raises `NotFound`."""

        async def configured(channel: Channel) -> Channel:
            if channel.source != kind or not channel.connected:
                raise NotFound(f"there is no connected {kind} channel {channel_id}", field="channel_id")
            return replace(channel, metadata={**channel.metadata, **settings})

        return await self._entities.update(topics.CHANNELS, channel_id, self._known, configured)

    async def record_check(self, checked_channel: Channel, checked: Checked) -> None:
        """Writes what a check of a channel found. A channel that was connected anew or disconnected meanwhile stays as
        it is: the check was about other credentials. Raises as `Writer.write`.
        """
        sealed = dict(self._secrets.seal(checked_channel.id, checked.credentials))
        token = sealed.pop(TOKEN, None)

        async def recorded(channel: Channel) -> Channel:
            if not channel.connected or not _same_credentials(channel, checked_channel):
                raise _Superseded
            now_ms = self._writer.now_ms()
            after = channel_health.after_check(
                channel.metadata, problem=checked.problem, repaired=checked.repaired, now_ms=now_ms
            )
            after |= channel_health.expiry(checked.credentials_valid_s, now_ms)
            if after == channel.metadata and not checked.credentials:
                raise _Superseded
            return replace(channel, token=token or channel.token, secrets={**channel.secrets, **sealed}, metadata=after)

        with suppress(_Superseded, NotFound):
            await self._entities.update(topics.CHANNELS, checked_channel.id, self._known, recorded)

    async def explore(self, kind: str, form: Struct) -> Sequence[Account]:
        """The accounts that the caller's credentials give access to."""
        source = self._source(kind)
        connected = [AccountKey(each.source, each.source_channel_id) for each in await self._store.channels()]
        explorer: Explorer = source  # type: ignore[assignment]  # the kind declares it
        return await self._calls.make(
            source.spec.name, ("explore", kind, form), lambda: explorer.explore(self._client, kind, form, connected)
        )

    async def disconnect(self, channel_id: str) -> Position:
        """Unsubscribes at the provider, then drops the credentials. Accepts channels of any source, because clients of
        the original send every disconnect to the path of one source.
        """
        unsubscribed: list[Channel] = []

        async def disconnected(channel: Channel) -> Channel:
            if channel.connected and not any(_same_credentials(channel, each) for each in unsubscribed):
                await self._unsubscribe(channel)  # again only for credentials that a concurrent connect stored
                unsubscribed.append(channel)
            return replace(channel, connected=False, token=None, secrets={}, previous_secret=None)

        return (await self._entities.update(topics.CHANNELS, channel_id, self._known, disconnected)).position

    async def _known(self, channel_id: str) -> Channel:
        channel = await self._store.channel(channel_id)
        if channel is None:
            raise NotFound(f"there is no channel {channel_id}", field="channel_id")
        return channel

    async def _unsubscribe(self, channel: Channel) -> None:
        """Runs before the credentials are dropped, so that a failed disconnect can be repeated as a whole. A failure
        here does not block the disconnect: webhooks of an account that stays subscribed are parked.
        """
        source = self._source_of(channel.source)
        if source is None:
            return
        others = [each for each in await self._store.channels() if each.id != channel.id]
        try:
            target = Target(channel=channel, credentials=self._secrets.unseal_all(channel))
            reason = await source.disconnect(self._client, target, others)
        except (Refused, Unavailable) as error:
            reason = str(error)
        if reason is not None:
            log.warning("channel.still_subscribed", channel_id=channel.id, reason=reason)

    def _source(self, kind: str) -> ChannelSource:
        source = self._source_of(kind)
        if source is None:
            raise NotFound(f"no source of {kind} channels is enabled here")
        return source


def _kind(spec: SourceSpec, name: str) -> Kind:
    return next(kind for kind in spec.kinds if kind.name == name)


def _same_account(channel: Channel, account: str) -> Channel:
    if channel.source_channel_id != account:
        raise Conflict("this idempotency key was used for another channel", field="idempotency_key")
    return channel


def _same_credentials(one: Channel, other: Channel) -> bool:
    return (one.token, one.secrets) == (other.token, other.secrets)


def _display_metadata(name: str | None, image_url: str | None) -> dict[str, Raw]:
    given = {"name": name, "image_url": image_url}
    return {key: metadata.value(text) for key, text in given.items() if text is not None}
