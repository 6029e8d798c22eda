"""Instagram accounts: connected and disconnected through their page, and the profiles of their contacts."""

from collections.abc import Collection

from airy.http_client import HttpClient
from airy.model import metadata
from airy.model.entity import Channel
from airy.sources import payload
from airy.sources.api import Checked, Connected, Profile, Target
from airy.sources.instagram.spec import ConnectAccount
from airy.sources.meta import pages
from airy.sources.meta.app import MetaApp

PROFILE_FIELDS = "name,username,profile_pic"


async def connect(client: HttpClient, app: MetaApp, form: ConnectAccount) -> Connected:
    """Raises `Refused`, `Unavailable`."""
    page = await pages.subscribe(client, app, form.page_id, form.page_token, instagram_id=form.account_id)
    return Connected(
        account=form.account_id,
        name=form.name or f"{page.name} Instagram account",
        image_url=form.image_url,
        metadata={"page_id": page.page_id, "account_id": form.account_id},
        credentials={"token": page.token},
    )


async def disconnect(client: HttpClient, app: MetaApp, target: Target, others: Collection[Channel]) -> str | None:
    """The page itself, if it is connected too, keeps its subscription."""
    page_id = metadata.text(target.channel.metadata, "page_id")
    return None if page_id is None else await pages.unsubscribe(client, app, page_id, target, others)


async def check(client: HttpClient, app: MetaApp, target: Target) -> Checked:
    """Raises `Unavailable`."""
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
