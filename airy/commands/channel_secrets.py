"""The credentials of channels and of custom sources: sealed before they are written, unsealed for a call.

The one called `token` is in the field of that name, where every version finds it; others are in `secrets`. The one
that verified webhooks before the last connect is in `previous_secret`.
"""

from collections.abc import Mapping

from airy import topics
from airy.errors import Refused
from airy.model.entity import Channel, CustomSource, PreviousSecret
from airy.seal import Sealer, seal_context
from airy.secret import Secret
from airy.sources.accounts import PREVIOUS

TOKEN, PREVIOUS_TOKEN = "token", "previous_token"
PREVIOUS_VALID_S = 604_800  # 7 days: no provider repeats a webhook for longer


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
        if name == PREVIOUS:
            sealed = channel.previous_secret.sealed if channel.previous_secret is not None else None
        return None if sealed is None else Secret(self._sealer.unseal(sealed, _context(channel.id, name)))

    def replaced(self, channel: Channel | None, name: str, new: Secret | None, now_ms: int) -> PreviousSecret | None:
        """What verifies webhooks beside `new`, which takes the place of the channel's credential of that name.

        A connect with the same credentials, such as one that is repeated, leaves a rotation as it is. None: the channel
        was not connected, or the credential cannot be opened.
        """
        if channel is None or not channel.connected or not name:
            return None
        try:
            current = self.unseal(channel, name)
        except Refused:
            return None
        if current == new:
            return channel.previous_secret
        context = _context(channel.id, PREVIOUS)
        sealed = None if current is None else self._sealer.seal(current.reveal(), context)
        return PreviousSecret(sealed=sealed, until_ms=now_ms + PREVIOUS_VALID_S * 1000)

    def seal_source_token(self, source_id: str, token: Secret) -> str:
        return self._sealer.seal(token.reveal(), _source_context(source_id))

    def source_tokens(self, source: CustomSource) -> list[Secret]:
        """Newest first. Raises `Refused` if one of them cannot be opened."""
        context = _source_context(source.id)
        return [Secret(self._sealer.unseal(sealed, context)) for sealed in source.tokens]

    def unseal_all(self, owner: Channel | CustomSource) -> dict[str, Secret]:
        """By name. Raises `Refused` if one of them cannot be opened."""
        if isinstance(owner, CustomSource):
            return dict(zip((TOKEN, PREVIOUS_TOKEN), self.source_tokens(owner), strict=False))
        return self._of_channel(owner)

    def _of_channel(self, channel: Channel) -> dict[str, Secret]:
        names = (*((TOKEN,) if channel.token is not None else ()), *channel.secrets)
        return {name: secret for name in names if (secret := self.unseal(channel, name)) is not None}


def _source_context(source_id: str) -> str:
    return seal_context(topics.CUSTOM_SOURCES.name, source_id, "tokens")


def _context(channel_id: str, name: str) -> str:
    field = name if name in {TOKEN, PREVIOUS} else f"secrets.{name}"
    return seal_context(topics.CHANNELS.name, channel_id, field)
