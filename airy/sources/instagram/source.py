"""Instagram: professional accounts of a Meta app, each connected through its page or by Instagram Login.

An account of a page is called at the Graph API with the page's token, one of Instagram Login at Instagram's with its
own. Both post to the same webhook.
"""

from collections.abc import Collection

from msgspec.structs import replace

from airy.http_client import HttpClient
from airy.model.entity import Channel
from airy.sources.api import Checked, Connected, Installation, Profile, Target
from airy.sources.instagram import login, manage
from airy.sources.instagram.spec import SPEC, ConnectAccount, InstagramSection
from airy.sources.meta.app import MetaApp
from airy.sources.meta.message_rules import INSTAGRAM
from airy.sources.meta.messaging import MetaMessaging
from airy.sources.meta.section import INSTAGRAM_LOGIN
from airy.sources.spec import ChannelForm, SourceSection, narrow


class Instagram(MetaMessaging):
    spec = SPEC
    dialect = INSTAGRAM
    webhook_object = "instagram"
    webhook_fields = login.SUBSCRIBED_FIELDS

    def __init__(self, section: SourceSection, public_url: str = "") -> None:
        super().__init__(section, public_url)
        given = narrow(section, InstagramSection)
        own = tuple(secret.reveal() for secret in given.instagram_app_secret)
        secrets = self.app.app_secrets
        self.app = replace(self.app, app_secrets=(*secrets, *own))  # Meta does not say which one signs its webhooks
        self.login_app = replace(
            self.app,
            app_secrets=(*own, *secrets),
            graph_url=given.instagram_url,
            proves=False,
            title="instagram",
        )

    def app_of(self, target: Target) -> MetaApp:
        return self.login_app if manage.by_login(target.channel) else self.app

    async def connect(
        self,
        client: HttpClient,
        kind: str,  # noqa: ARG002 - there is one
        form: ChannelForm,
        installation: Installation,
    ) -> Connected:
        given = narrow(form, ConnectAccount)
        if given.auth == INSTAGRAM_LOGIN:
            return self.connected(await login.connect(client, self.login_app, given), installation)
        return self.connected(await manage.connect_by_page(client, self.app, given), installation)

    async def disconnect(self, client: HttpClient, target: Target, others: Collection[Channel]) -> str | None:
        return await manage.disconnect(client, self.app_of(target), target, others)

    async def check(self, client: HttpClient, target: Target, now_ms: int) -> Checked:
        return await manage.check(client, self.app_of(target), target, now_ms)

    async def profile(self, client: HttpClient, target: Target) -> Profile:
        return await manage.profile(client, self.app_of(target), target)
