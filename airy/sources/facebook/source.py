"""Facebook Messenger: pages of a Meta app."""

from collections.abc import Collection

from msgspec import Struct

from airy.http_client import HttpClient
from airy.model.entity import Channel
from airy.sources.api import Account, AccountKey, Checked, Connected, Installation, Profile, Target
from airy.sources.facebook import manage
from airy.sources.facebook.spec import SPEC, ConnectPage, ExplorePages
from airy.sources.meta.message_rules import MESSENGER
from airy.sources.meta.messaging import MetaMessaging
from airy.sources.meta.pages import SUBSCRIBED_FIELDS
from airy.sources.spec import ChannelForm, narrow


class Facebook(MetaMessaging):
    spec = SPEC
    dialect = MESSENGER
    webhook_object = "page"
    webhook_fields = SUBSCRIBED_FIELDS

    async def connect(
        self,
        client: HttpClient,
        kind: str,  # noqa: ARG002 - there is one
        form: ChannelForm,
        installation: Installation,
    ) -> Connected:
        return self.connected(await manage.connect(client, self.app, narrow(form, ConnectPage)), installation)

    async def disconnect(self, client: HttpClient, target: Target, others: Collection[Channel]) -> str | None:
        return await manage.disconnect(client, self.app, target, others)

    async def explore(
        self,
        client: HttpClient,
        kind: str,  # noqa: ARG002 - there is one
        form: Struct,
        connected: Collection[AccountKey],
    ) -> list[Account]:
        return await manage.explore(client, self.app, narrow(form, ExplorePages), connected)

    async def check(self, client: HttpClient, target: Target, now_ms: int) -> Checked:  # noqa: ARG002 - page tokens do not expire
        return await manage.check(client, self.app, target)

    async def profile(self, client: HttpClient, target: Target) -> Profile:
        return await manage.profile(client, self.app, target)
