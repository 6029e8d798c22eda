"""Binds a source's management calls to the process's outbound HTTP, as the channel commands want them."""

from collections.abc import Sequence

from airy.actors.commands import Page
from airy.fetch import Fetch
from airy.secret import Secret
from airy.sources.api import Account
from airy.sources.facebook import FacebookConfig, manage


class FacebookAccounts:
    def __init__(self, fetch: Fetch, config: FacebookConfig) -> None:
        self._fetch = fetch
        self._config = config

    async def connect(self, account_id: str, token: Secret) -> Page:
        page = await manage.connect(self._fetch, self._config, account_id, token.reveal())
        return Page(name=page.name, image_url=page.image_url, token=Secret(page.token))

    async def explore(self, token: Secret, connected: frozenset[str]) -> Sequence[Account]:
        return await manage.explore(self._fetch, self._config, token.reveal(), connected)

    async def disconnect(self, account_id: str, token: Secret) -> str | None:
        return await manage.disconnect(self._fetch, self._config, account_id, token.reveal())
