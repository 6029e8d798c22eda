"""Calls of the Graph API that are not messages: find pages, connect and disconnect them, read profiles.

A Graph error becomes `Refused` with Meta's own words, a server in trouble `Unavailable`. Tokens and secrets travel in
headers and bodies, never in an address, and are removed from whatever Meta says about them.
"""

import re
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient, Response
from airy.model import metadata
from airy.model.entity import Channel
from airy.secret import Secret
from airy.sources import payload
from airy.sources.api import Account, AccountKey, AppRateLimited, Call, Checked, Profile, Target
from airy.sources.calling import call
from airy.sources.meta import graph
from airy.sources.meta.app import MetaApp
from airy.sources.retry_after import retry_after_s

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
TOKEN_S = 600.0  # after a refused token: connecting the page again takes an operator

_PATH_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")
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
        listing = await _get(client, app, url or "", auth_token)
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
    path = _path(page_id, "page_id")
    long_lived = await _exchange(client, app, page_token)
    wanted = f"{PAGE_FIELDS},access_token" + (",instagram_business_account" if instagram_id else "")
    page = await _get(client, app, f"{app.graph}/{path}?{urlencode({'fields': wanted})}", long_lived)
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
        path = _path(page_id, "page_id")
        listing = await _get(client, app, f"{app.graph}/{path}/subscribed_apps", token)
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
    if token is None or any(metadata.text(other.metadata, "page_id") == page_id for other in others):
        return None
    try:
        url = _proved(app, f"{app.graph}/{_path(page_id, 'page_id')}/subscribed_apps", token)
        await _object(client, graph.call("DELETE", url, token))
    except (Refused, Unavailable) as error:
        return str(error)
    return None


async def read_profile(
    client: HttpClient, app: MetaApp, participant_id: str, token: Secret, fields: str
) -> dict[str, object] | None:
    """The profile object of a contact; None if Graph refuses it. Raises `Unavailable`."""
    person = quote(participant_id, safe="")
    return await _asked(client, app, f"{app.graph}/{person}?{urlencode({'fields': fields})}", token)


async def read_participant_name(client: HttpClient, app: MetaApp, participant_id: str, token: Secret) -> str | None:
    """A contact's name by the conversation they are in. Raises `Unavailable`."""
    query = urlencode({"user_id": participant_id, "fields": "participants"})
    listing = await _asked(client, app, f"{app.graph}/me/conversations?{query}", token)
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


def _is_subscribed(listing: Mapping[str, object], app_id: str) -> bool:
    """Without a list of fields, which not every answer has, the subscription counts as whole."""
    apps = listing.get("data")
    for app in map(payload.record, apps if isinstance(apps, list) else ()):
        fields = app.get("subscribed_fields")
        if payload.identifier(app.get("id")) == app_id:
            return not fields or not isinstance(fields, list) or set(map(str, fields)) >= ESSENTIAL_FIELDS
    return False


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
    body = {"subscribed_fields": ",".join(SUBSCRIBED_FIELDS), **graph.proved(app, token)}
    request = graph.call("POST", f"{app.graph}/{path}/subscribed_apps", token, msgspec.json.encode(body))
    if (await _object(client, request, given)).get("success") is not True:
        raise Refused(
            "facebook did not subscribe the page to the app; check the permissions of the token",
            field="page_token",
        )


async def _exchange(client: HttpClient, app: MetaApp, token: Secret) -> Secret:
    form = {
        "grant_type": "fb_exchange_token",
        "client_id": app.app_id,
        "client_secret": app.app_secrets[0],
        "fb_exchange_token": token.reveal(),
    }
    request = Call(
        "POST",
        Secret(f"{app.graph}/oauth/access_token"),
        {"content-type": Secret("application/x-www-form-urlencoded")},
        urlencode(form).encode(),
        (token,),
    )
    found = await _object(client, request, *map(Secret, app.app_secrets))
    exchanged = payload.text(found.get("access_token"))
    if exchanged is None:
        raise Refused("facebook exchanged the token for nothing; ask for a new one", field="page_token")
    return Secret(exchanged)


async def _get(client: HttpClient, app: MetaApp, url: str, token: Secret) -> dict[str, object]:
    return await _object(client, graph.call("GET", _proved(app, url, token), token))


async def _asked(client: HttpClient, app: MetaApp, url: str, token: Secret) -> dict[str, object] | None:
    """Like `_get`, but None where Graph refuses the contact and not the caller."""
    answer = await call(client, graph.call("GET", _proved(app, url, token), token))
    error = graph.error_of(payload.object_of(answer.body))
    if error is not None and error.code in graph.TOKEN_CODES:
        said = graph.masked(error.message, token.reveal())
        message = f"the page's token is refused: {said}; connect the page again"
        raise Unavailable(message, retry_after_s=TOKEN_S)
    try:
        return _settled(answer, token)
    except Refused:
        return None


async def _object(client: HttpClient, request: Call, *secrets: Secret) -> dict[str, object]:
    return _settled(await call(client, request), *request.secrets, *secrets)


def _settled(answer: Response, *secrets: Secret) -> dict[str, object]:
    """The object Graph answered with. Raises `Refused` or `Unavailable`."""
    found = payload.object_of(answer.body)
    error = graph.error_of(found)
    delay_s = retry_after_s(answer)
    if error is not None:
        said = graph.masked(error.message, *(secret.reveal() for secret in secrets))
        vague = error.code == 1  # also the answer to a wrong app secret, which the caller has to see
        if (error.transient and not vague) or answer.status >= 500 or answer.status == 429:
            limited = error.code in graph.RATE_CODES or answer.status == 429
            kind = AppRateLimited if error.code in graph.APP_RATE_CODES else Unavailable
            raise kind(
                f"facebook is busy: {said}", retry_after_s=graph.RATE_S if limited and delay_s is None else delay_s
            )
        raise Refused(said)
    if 200 <= answer.status < 300 and found is not None:
        return found
    if answer.status == 429 or answer.status >= 500 or 200 <= answer.status < 300:
        message = f"facebook answered {answer.status} with something that is not Graph's; try again later"
        raise Unavailable(message, retry_after_s=delay_s)
    raise Refused(f"facebook answered {answer.status}; check graph_url and graph_version")


def _proved(app: MetaApp, url: str, token: Secret) -> str:
    proved = urlencode(graph.proved(app, token))
    return f"{url}{'&' if '?' in url else '?'}{proved}" if proved else url


def _path(thing: str, field: str) -> str:
    if not _PATH_SAFE.fullmatch(thing):
        raise Refused(f"{field} is not an id facebook gives: digits, without spaces", field=field)
    return thing
