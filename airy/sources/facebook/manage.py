"""Pages: found, connected and disconnected with the Graph API, and the profiles of their contacts."""

from collections.abc import Collection

from airy.errors import Refused
from airy.http_client import HttpClient
from airy.model.entity import Channel
from airy.sources import payload
from airy.sources.api import Account, AccountKey, Checked, Connected, Profile, Target
from airy.sources.facebook.spec import ConnectPage, ExplorePages
from airy.sources.meta import pages, participant
from airy.sources.meta.app import MetaApp

PROFILE_FIELDS = "first_name,last_name,profile_pic"


async def connect(client: HttpClient, app: MetaApp, form: ConnectPage) -> Connected:
    """Raises `Refused`, `Unavailable`."""
    page = await pages.subscribe(client, app, form.page_id, form.page_token)
    return Connected(
        account=page.page_id,
        name=form.name or page.name,
        image_url=form.image_url or page.image_url,
        metadata={"page_id": page.page_id},
        credentials={"token": page.token},
    )


async def disconnect(client: HttpClient, app: MetaApp, target: Target, others: Collection[Channel]) -> str | None:
    """An Instagram account of the same page, connected too, keeps the page's subscription alive."""
    return await pages.unsubscribe(client, app, target.channel.source_channel_id, target, others)


async def check(client: HttpClient, app: MetaApp, target: Target) -> Checked:
    """Raises `Unavailable`."""
    return await pages.check(client, app, target.channel.source_channel_id, target)


async def explore(
    client: HttpClient, app: MetaApp, form: ExplorePages, connected: Collection[AccountKey]
) -> list[Account]:
    """Raises `Refused`, `Unavailable`."""
    token = form.auth_token or form.token
    if token is None:
        raise Refused("is required", field="auth_token")
    return await pages.explore(client, app, token, connected)


async def profile(client: HttpClient, app: MetaApp, target: Target) -> Profile:
    """By the contact's profile, or by the conversation they are in. Raises `Unavailable`."""
    token = target.credentials.get("token")
    participant_id = target.conversation.participant_id if target.conversation else None
    if token is None or participant_id is None or participant.is_guest(participant_id):
        return Profile(found=False)
    found = await pages.read_profile(client, app, participant_id, token, PROFILE_FIELDS)
    if found is not None:
        names = (payload.text(found.get("first_name")), payload.text(found.get("last_name")))
        known = pages.named(" ".join(part.strip() for part in names if part), found.get("profile_pic"))
        if known.found:
            return known
    return pages.named(await pages.read_participant_name(client, app, participant_id, token), None)
