"""Connected channels by provider account and by id, as of one moment.

One instance serves routing (`Channels`) and verification (`Accounts`). Of two connected channels of one account the
later one counts.
"""

from collections.abc import Callable, Collection, Iterable

from airy.errors import Refused
from airy.model.entity import Channel
from airy.model.identity import IdentityKey
from airy.secret import Secret
from airy.sources.api import AccountKey

Unseal = Callable[[Channel, str], Secret | None]
"""A channel's secret of one name, in clear. Raises `Refused` if it cannot be opened."""


def no_secrets(_channel: Channel, _name: str) -> Secret | None:
    return None


class ConnectedChannels:
    def __init__(self, channels: Iterable[Channel] = (), *, unseal: Unseal = no_secrets) -> None:
        self._unseal = unseal
        connected = [channel for channel in channels if channel.connected]
        self._by_account = {AccountKey(each.source, each.source_channel_id): each for each in connected}
        self._by_id = {each.id: each for each in connected}

    def by_account(self, kind: str, account: str) -> Channel | None:
        return self._by_account.get(AccountKey(kind, account))

    def conversations(self, _key: IdentityKey) -> Collection[str]:
        """None: names are looked up by `IdentityDirectory`."""
        return ()

    def by_id(self, channel_id: str) -> Channel | None:
        return self._by_id.get(channel_id)

    def of_kind(self, kind: str) -> Iterable[Channel]:
        return [channel for channel in self._by_account.values() if channel.source == kind]

    def secret(self, channel: Channel, name: str) -> Secret | None:
        try:
            return self._unseal(channel, name)
        except Refused:
            return None
