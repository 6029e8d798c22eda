"""Instagram accounts: connected, checked and disconnected, through their page or by Instagram Login; and the profiles
of their contacts.
"""

from collections.abc import Collection

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.model import metadata
from airy.model.entity import Channel
from airy.sources import payload
from airy.sources.api import Checked, Connected, Profile, Target
from airy.sources.instagram import login
from airy.sources.instagram.spec import ConnectAccount
from airy.sources.meta import pages
from airy.sources.meta.app import MetaApp
from airy.sources.meta.section import FACEBOOK_PAGE, INSTAGRAM_LOGIN

PROFILE_FIELDS = "name,username,profile_pic"


def by_login(channel: Channel) -> bool:
    return metadata.text(channel.metadata, "auth") == INSTAGRAM_LOGIN


async def connect_by_page(client: HttpClient, app: MetaApp, form: ConnectAccount) -> Connected:
    """Raises `Refused`, `Unavailable`."""
    given = {"page_id": form.page_id, "account_id": form.account_id, "page_token": form.page_token}
    missing = next((name for name, value in given.items() if not value), None)
    if missing or form.page_id is None or form.account_id is None or form.page_token is None:
        raise Refused("is required; an account without a page is connected with auth instagram_login", field=missing)
    page = await pages.subscribe(client, app, form.page_id, form.page_token, instagram_id=form.account_id)
    return Connected(
        account=form.account_id,
        name=form.name or f"{page.name} Instagram account",
        image_url=form.image_url,
        metadata={"auth": FACEBOOK_PAGE, "page_id": page.page_id, "account_id": form.account_id},
        credentials={"token": page.token},
    )


async def disconnect(client: HttpClient, app: MetaApp, target: Target, others: Collection[Channel]) -> str | None:
    """The page itself, if it is connected too, keeps its subscription."""
    if by_login(target.channel):
        return await _disconnect_login(client, app, target)
    page_id = metadata.text(target.channel.metadata, "page_id")
    return None if page_id is None else await pages.unsubscribe(client, app, page_id, target, others)


async def _disconnect_login(client: HttpClient, app: MetaApp, target: Target) -> str | None:
    token = target.credentials.get("token")
    if token is None:
        return None
    try:
        await login.disconnect(client, app, token)
    except (Refused, Unavailable) as error:
        return str(error)
    return None


async def check(client: HttpClient, app: MetaApp, target: Target, now_ms: int) -> Checked:
    """Raises `Unavailable`."""
    if by_login(target.channel):
        return await login.check(client, app, target, now_ms)
    page_id = metadata.text(target.channel.metadata, "page_id") or ""
    return await pages.check(client, app, page_id, target)


async def profile(client: HttpClient, app: MetaApp, target: Target) -> Profile:
    """Raises `Unavailable`."""
    token = target.credentials.get("token")
    participant_id = target.conversation.participant_id if target.conversation else None
    if token is None or participant_id is None:
        return Profile(found=False)
    found = await pages.read_profile(client, app, participant_id, token, PROFILE_FIELDS) or {}
    name = payload.text(found.get("name")) or payload.text(found.get("username"))
    return pages.named(name, found.get("profile_pic"))
