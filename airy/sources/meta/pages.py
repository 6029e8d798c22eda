"""Calls of the Graph API that are not messages: find pages, connect and disconnect them, read profiles.

Errors are those of `graph_calls`.
"""

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from msgspec import Struct

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.model import metadata
from airy.model.entity import Channel
from airy.secret import Secret
from airy.sources import payload
from airy.sources.api import Account, AccountKey, Checked, Profile, Target
from airy.sources.meta import graph_calls
from airy.sources.meta.app import MetaApp
from airy.sources.meta.section import INSTAGRAM_LOGIN

LISTINGS_MAX = 100  # parts of one listing
PAGE_FIELDS = "id,name,name_with_location_descriptor,picture"
SUBSCRIBED_FIELDS = (
    "messages",
    "messaging_postbacks",
    "message_deliveries",
    "message_reads",
    "message_echoes",
    "message_edits",
    "messaging_optins",
    "message_reactions",
    "messaging_account_linking",
    "messaging_referrals",
    "messaging_handovers",
    "messaging_policy_enforcement",
    "response_feedback",
    "standby",
)
ESSENTIAL_FIELDS = frozenset(SUBSCRIBED_FIELDS[:5])  # a subscription without one of them is renewed

_SECRET_PARAMETERS = frozenset({"access_token", "appsecret_proof"})


class SubscribedPage(Struct, frozen=True):
    """A page that sends its webhooks to our app. `token` is its own and long-lived."""

    page_id: str
    name: str
    image_url: str | None
    token: Secret


async def explore(
    client: HttpClient, app: MetaApp, auth_token: Secret, connected: Collection[AccountKey]
) -> list[Account]:
    """The pages that the owner of `auth_token` may connect. Raises `Refused`, `Unavailable`."""
    accounts: dict[str, Account] = {}
    url: str | None = f"{app.graph}/me/accounts?{urlencode({'fields': PAGE_FIELDS, 'limit': 100})}"
    for _ in range(LISTINGS_MAX):
        listing = await graph_calls.get(client, app, url or "", auth_token)
        pages = listing.get("data")
        for page in pages if isinstance(pages, list) else ():
            account = _account(payload.record(page), connected)
            if account is not None:
                accounts.setdefault(account.source_channel_id, account)
        url = _next(app, payload.record(listing.get("paging")).get("next"))
        if url is None:
            return list(accounts.values())
    raise Refused(
        f"facebook lists more than {LISTINGS_MAX} parts of accounts; connect yours by its page id",
        field="auth_token",
    )


async def subscribe(
    client: HttpClient, app: MetaApp, page_id: str, page_token: Secret, *, instagram_id: str | None = None
) -> SubscribedPage:
    """Exchanges the token for a long-lived one, looks the page up, and subscribes it to our app.

    With `instagram_id`, that Instagram account has to be the page's. Raises `Refused`, `Unavailable`.
    """
    path = graph_calls.id_in_path(page_id, "page_id")
    long_lived = await graph_calls.exchange(client, app, page_token)
    wanted = f"{PAGE_FIELDS},access_token" + (",instagram_business_account" if instagram_id else "")
    page = await graph_calls.get(client, app, f"{app.graph}/{path}?{urlencode({'fields': wanted})}", long_lived)
    if payload.identifier(page.get("id")) != page_id:
        raise Refused(f"facebook knows page {page_id} under another id; use the id it shows", field="page_id")
    linked = payload.identifier(payload.record(page.get("instagram_business_account")).get("id"))
    if instagram_id is not None and linked not in {None, instagram_id}:
        raise Refused(f"page {page_id} is linked with the Instagram account {linked}", field="account_id")
    text = payload.text(page.get("access_token"))
    token = long_lived if text is None else Secret(text)
    await _subscribe(client, app, path, token, page_token)
    return SubscribedPage(page_id, _name(page) or page_id, _picture(page), token)


async def check(client: HttpClient, app: MetaApp, page_id: str, target: Target) -> Checked:
    """Whether the page still sends its webhooks to our app, which Meta ends when they fail for an hour; if it does not,
    it is subscribed again. Raises `Unavailable`.
    """
    token = target.credentials.get("token")
    if token is None:
        return Checked(problem="the channel has no token: connect it again")
    try:
        path = graph_calls.id_in_path(page_id, "page_id")
        listing = await graph_calls.get(client, app, f"{app.graph}/{path}/subscribed_apps", token)
        if _is_subscribed(listing, app.app_id):
            return Checked()
        await _subscribe(client, app, path, token, token)
    except Refused as error:
        return Checked(problem=f"Meta refuses the token of page {page_id}: {error}; connect the channel again")
    return Checked(repaired="Meta had ended the webhooks of the page: messages may be missing, see the page's inbox")


async def unsubscribe(
    client: HttpClient, app: MetaApp, page_id: str, target: Target, others: Collection[Channel]
) -> str | None:
    """Ends the webhooks of a page unless another connected channel needs them too. Returns why it failed, or None."""
    token = target.credentials.get("token")
    if token is None or any(_shares(page_id, other) for other in others):
        return None
    try:
        path = graph_calls.id_in_path(page_id, "page_id")
        await graph_calls.delete(client, app, f"{app.graph}/{path}/subscribed_apps", token)
    except (Refused, Unavailable) as error:
        return str(error)
    return None


async def read_profile(
    client: HttpClient, app: MetaApp, participant_id: str, token: Secret, fields: str
) -> dict[str, object] | None:
    """The profile object of a contact; None if Graph refuses it. Raises `Unavailable`."""
    person = quote(participant_id, safe="")
    return await graph_calls.asked(client, app, f"{app.graph}/{person}?{urlencode({'fields': fields})}", token)


async def read_participant_name(client: HttpClient, app: MetaApp, participant_id: str, token: Secret) -> str | None:
    """A contact's name by the conversation they are in. Raises `Unavailable`."""
    query = urlencode({"user_id": participant_id, "fields": "participants"})
    listing = await graph_calls.asked(client, app, f"{app.graph}/me/conversations?{query}", token)
    return _participant_name(listing or {}, participant_id)


def named(name: str | None, picture: object) -> Profile:
    address = web_address(picture)
    name = (name or "").strip() or None
    return Profile(found=name is not None or address is not None, display_name=name, avatar_url=address)


# --- reading what Graph says


def _account(page: Mapping[str, object], connected: Collection[AccountKey]) -> Account | None:
    page_id = payload.identifier(page.get("id"))
    if page_id is None:
        return None
    return Account(page_id, _name(page) or page_id, _picture(page), AccountKey("facebook", page_id) in connected)


def _shares(page_id: str, channel: Channel) -> bool:
    """An account of Instagram Login may still name the page it was connected through before."""
    known = channel.metadata
    return metadata.text(known, "page_id") == page_id and metadata.text(known, "auth") != INSTAGRAM_LOGIN


def _is_subscribed(listing: Mapping[str, object], app_id: str) -> bool:
    apps = listing.get("data")
    for app in map(payload.record, apps if isinstance(apps, list) else ()):
        if payload.identifier(app.get("id")) == app_id:
            return has_fields(app, ESSENTIAL_FIELDS)
    return False


def has_fields(app: Mapping[str, object], wanted: Collection[str]) -> bool:
    """Whether an entry of a list of subscribed apps has these fields, or does not say which."""
    fields = app.get("subscribed_fields")
    return not fields or not isinstance(fields, list) or set(map(str, fields)) >= set(wanted)


def _name(page: Mapping[str, object]) -> str | None:
    return payload.text(page.get("name_with_location_descriptor")) or payload.text(page.get("name"))


def _picture(page: Mapping[str, object]) -> str | None:
    return web_address(payload.record(payload.record(page.get("picture")).get("data")).get("url"))


def web_address(thing: object) -> str | None:
    address = payload.text(thing)
    return address if address is not None and address.startswith(("https://", "http://")) else None


def _participant_name(listing: Mapping[str, object], participant_id: str) -> str | None:
    conversations = listing.get("data")
    for conversation in conversations if isinstance(conversations, list) else ():
        people = payload.record(payload.record(conversation).get("participants")).get("data")
        for person in people if isinstance(people, list) else ():
            if payload.identifier(payload.record(person).get("id")) == participant_id:
                return (payload.text(payload.record(person).get("name")) or "").strip() or None
    return None


def _next(app: MetaApp, link: object) -> str | None:
    """The rest of a listing: on the same server only, and without the token Meta writes into its links."""
    if not isinstance(link, str) or not link:
        return None
    there, here = urlsplit(link), urlsplit(app.graph_url)
    if (there.scheme, there.netloc) != (here.scheme, here.netloc):
        raise Refused("facebook's listing goes on at another server; it is not followed", field="auth_token")
    query = [(key, text) for key, text in parse_qsl(there.query) if key not in _SECRET_PARAMETERS]
    return there._replace(query=urlencode(query), fragment="").geturl()


# --- calling


async def _subscribe(client: HttpClient, app: MetaApp, path: str, token: Secret, given: Secret) -> None:
    """`given`: what the caller pasted, which Meta may quote."""
    fields = {"subscribed_fields": ",".join(SUBSCRIBED_FIELDS)}
    done = await graph_calls.post(client, app, f"{app.graph}/{path}/subscribed_apps", token, fields, given)
    if done.get("success") is not True:
        raise Refused(
            "facebook did not subscribe the page to the app; check the permissions of the token",
            field="page_token",
        )
