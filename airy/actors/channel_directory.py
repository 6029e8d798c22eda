"""The connected channels as the store has folded them: only the fold can judge which write of a channel counts.

Cached until the fold passes a newer record of the channels topic, because webhooks are many and connects are few.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from airy import topics
from airy.actors.fold_progress import FoldProgress, wait_until_current
from airy.actors.identity_directory import IdentityDirectory
from airy.bus.api import Bus
from airy.errors import Unavailable
from airy.model.entity import Channel
from airy.sources.accounts import ConnectedChannels, Unseal, no_secrets
from airy.store.api import EntityReader, IdentityReader
from airy.store.holds import check_not_held

CURRENT_S = 25.0


class DirectoryStore(EntityReader, IdentityReader, Protocol):
    """What the directories read."""


class ChannelDirectory:
    """`now_ms` decides for how long the previous secret of a channel counts."""

    def __init__(
        self,
        bus: Bus,
        store: DirectoryStore,
        progress: FoldProgress,
        *,
        unseal: Unseal = no_secrets,
        now_ms: Callable[[], int],
    ) -> None:
        self._bus = bus
        self._store = store
        self._progress = progress
        self._unseal = unseal
        self._now_ms = now_ms
        self._folded: tuple[int, ...] | None = None  # positions in the channels topic when `channels` was read
        self.channels = self._connected(())

    def identities(self) -> IdentityDirectory:
        """A directory of names, for one reader."""
        return IdentityDirectory(self._bus, self._store, self._progress)

    async def refresh(self) -> ConnectedChannels:
        """The channels as of what the store has folded by now. Raises `PartitionHeld` while some cannot be read: a
        missing or outdated channel would park, reject or misroute its webhooks.
        """
        check_not_held(self._progress.held, topics.CHANNELS)
        positions = self._progress.positions()
        folded = tuple(positions.get(tp, 0) for tp in topics.CHANNELS.topic_partitions)
        if folded != self._folded:
            found = await self._store.channels(connected_only=True)
            self.channels = self._connected(found)
            self._folded = folded
        return self.channels

    def _connected(self, channels: Iterable[Channel]) -> ConnectedChannels:
        return ConnectedChannels(channels, unseal=self._unseal, now_ms=self._now_ms)

    async def current(self) -> ConnectedChannels:
        """The channels as of what the log holds at the time of the call.

        Raises `Unavailable` if the store does not fold that within `CURRENT_S`.
        """
        if not await wait_until_current(self._bus, self._progress, [topics.CHANNELS], CURRENT_S):
            check_not_held(self._progress.held, topics.CHANNELS)
            raise Unavailable(f"the store did not fold the channels within {CURRENT_S:g} s")
        return await self.refresh()
