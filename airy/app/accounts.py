"""Binds a source's account calls to the outbound HTTP client, behind the interface the channel commands use."""

from collections.abc import Sequence

from airy.commands import ConnectedAccount
from airy.http_client import HttpClient
from airy.secret import Secret
from airy.sources.api import Account
from airy.sources.facebook import FacebookConfig, manage


class FacebookAccounts:
    def __init__(self, http: HttpClient, config: FacebookConfig) -> None:
        self._http = http
        self._config = config

    async def connect(self, account_id: str, token: Secret) -> ConnectedAccount:
        page = await manage.connect(self._http, self._config, account_id, token.reveal())
        return ConnectedAccount(name=page.name, image_url=page.image_url, token=Secret(page.token))

    async def explore(self, token: Secret, connected: frozenset[str]) -> Sequence[Account]:
        return await manage.explore(self._http, self._config, token.reveal(), connected)

    async def disconnect(self, account_id: str, token: Secret) -> str | None:
        return await manage.disconnect(self._http, self._config, account_id, token.reveal())
