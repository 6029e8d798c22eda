"""Connected channels by provider account and by id, as of one moment.

One instance serves routing (`Channels`) and verification (`Accounts`). Of two connected channels of one account the
later one counts.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

from airy.errors import Refused
from airy.model.entity import Channel
from airy.model.identity import IdentityKey
from airy.secret import Secret
from airy.sources.api import AccountKey

Unseal = Callable[[Channel, str], Secret | None]
"""A channel's secret of one name, in clear. Raises `Refused` if it cannot be opened."""


PREVIOUS = "previous_secret"  # the name by which `Unseal` takes that of `Channel.previous_secret`


def no_secrets(_channel: Channel, _name: str) -> Secret | None:
    return None


def _without_a_clock() -> int:
    raise RuntimeError("a channel's credentials were replaced, and the channels were read without a clock")


class ConnectedChannels:
    def __init__(
        self,
        channels: Iterable[Channel] = (),
        *,
        unseal: Unseal = no_secrets,
        now_ms: Callable[[], int] = _without_a_clock,
    ) -> None:
        self._unseal = unseal
        self._now_ms = now_ms
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

    def secrets(self, channel: Channel, name: str, configured: Sequence[Secret] = ()) -> Sequence[Secret]:
        """Neither empty ones nor those that cannot be opened."""
        found = [*self._opened(channel, name, configured)]
        previous = channel.previous_secret
        if previous is not None and self._now_ms() < previous.until_ms:
            found += self._opened(channel, PREVIOUS, configured)
        return [secret for secret in found if secret]

    def _opened(self, channel: Channel, name: str, configured: Sequence[Secret]) -> Sequence[Secret]:
        try:
            own = self._unseal(channel, name)
        except Refused:
            return ()
        return configured if own is None else (own,)
