"""The credentials of channels: sealed before they are written, unsealed for a call.

The one called `token` is in the field of that name, where every version finds it; others are in `secrets`.
"""

from collections.abc import Mapping

from airy import topics
from airy.model.entity import Channel
from airy.seal import Sealer, seal_context
from airy.secret import Secret

TOKEN = "token"  # noqa: S105 - the name of a field


class ChannelSecrets:
    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, channel_id: str, credentials: Mapping[str, Secret]) -> dict[str, str]:
        return {
            name: self._sealer.seal(secret.reveal(), _context(channel_id, name)) for name, secret in credentials.items()
        }

    def unseal(self, channel: Channel, name: str) -> Secret | None:
        """None if the channel has no credential of that name. Raises `Refused` if it cannot be opened."""
        sealed = channel.token if name == TOKEN else channel.secrets.get(name)
        return None if sealed is None else Secret(self._sealer.unseal(sealed, _context(channel.id, name)))

    def unseal_all(self, channel: Channel) -> dict[str, Secret]:
        """Raises `Refused` if one of them cannot be opened."""
        names = (*((TOKEN,) if channel.token is not None else ()), *channel.secrets)
        return {name: secret for name in names if (secret := self.unseal(channel, name)) is not None}


def _context(channel_id: str, name: str) -> str:
    return seal_context(topics.CHANNELS.name, channel_id, name if name == TOKEN else f"secrets.{name}")
