"""Connected channels by provider account and by id, kept up to date with the channels topic.

One instance serves routing (`Channels`) and verification (`Accounts`). Of two connected channels of one account the
later one counts.
"""

from collections.abc import Callable, Iterable

from airy.errors import Refused
from airy.model.entity import Channel
from airy.secret import Secret
from airy.sources.api import AccountKey

Unseal = Callable[[Channel, str], Secret | None]
"""A channel's secret of one name, in clear. Raises `Refused` if it cannot be opened."""


def no_secrets(_channel: Channel, _name: str) -> Secret | None:
    return None


class ConnectedChannels:
    def __init__(self, channels: Iterable[Channel] = (), *, unseal: Unseal = no_secrets) -> None:
        self._unseal = unseal
        self._by_account: dict[AccountKey, Channel] = {}
        self._by_id: dict[str, Channel] = {}
        for channel in channels:
            self.put(channel.id, channel)

    def put(self, channel_id: str, channel: Channel | None) -> None:
        """A channel was written; None: deleted."""
        held = self._by_id.pop(channel_id, None)
        if held is not None:
            key = AccountKey(held.source, held.source_channel_id)
            if (at_account := self._by_account.get(key)) is not None and at_account.id == channel_id:
                del self._by_account[key]
        if channel is not None and channel.connected:
            self._by_id[channel_id] = channel
            self._by_account[AccountKey(channel.source, channel.source_channel_id)] = channel

    def by_account(self, kind: str, account: str) -> Channel | None:
        return self._by_account.get(AccountKey(kind, account))

    def by_id(self, channel_id: str) -> Channel | None:
        return self._by_id.get(channel_id)

    def secret(self, channel: Channel, name: str) -> Secret | None:
        try:
            return self._unseal(channel, name)
        except Refused:
            return None

    def __len__(self) -> int:
        return len(self._by_id)
