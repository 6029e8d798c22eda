"""Graph API calls other than sends: exploring pages, connecting and disconnecting them, fetching profiles.

A Graph error becomes `Refused` with Meta's own words, a server in trouble `Unavailable`. Tokens and secrets
travel in headers and bodies, never in an address, and are taken out of whatever Meta says about them.
"""

import re
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient, Response
from airy.sources import payload
from airy.sources.api import Account, Profile
from airy.sources.facebook import graph
from airy.sources.facebook.config import FacebookConfig

PAGES_MAX = 100  # of a listing
PAGE_FIELDS = "id,name,name_with_location_descriptor,picture"
PROFILE_FIELDS = "first_name,last_name,profile_pic"
SUBSCRIBED_FIELDS = (
    "messages",
    "messaging_postbacks",
    "messaging_optins",
    "message_deliveries",
    "message_reads",
    "message_edits",
    "message_echoes",
    "message_reactions",
    "messaging_account_linking",
    "messaging_referrals",
    "messaging_handovers",
    "messaging_policy_enforcement",
    "standby",
)

_PATH_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECRET_PARAMETERS = frozenset({"access_token", "appsecret_proof"})
_TIME_OUT_S = 15.0


class ConnectedPage(Struct, frozen=True):
    """A page that sends us its webhooks now. `token` is its own and long-lived: seal it."""

    page_id: str
    name: str
    image_url: str | None
    token: str

    def __repr__(self) -> str:
        return f"ConnectedPage(page_id={self.page_id!r}, name={self.name!r}, token=***)"


async def explore(
    fetch: HttpClient,
    config: FacebookConfig,
    auth_token: str,
    connected_ids: Collection[str],
) -> list[Account]:
    """The pages the owner of `auth_token` may connect. Raises `Refused`, `Unavailable`."""
    accounts: dict[str, Account] = {}
    url: str | None = f"{config.graph}/me/accounts?{urlencode({'fields': PAGE_FIELDS, 'limit': 100})}"
    for _ in range(PAGES_MAX):
        listing = await _get(fetch, config, url or "", auth_token)
        pages = listing.get("data")
        for page in pages if isinstance(pages, list) else ():
            account = _account(payload.record(page), connected_ids)
            if account is not None:
                accounts.setdefault(account.source_channel_id, account)
        url = _next(config, payload.record(listing.get("paging")).get("next"))
        if url is None:
            return list(accounts.values())
    raise Refused(
        f"facebook lists more than {PAGES_MAX} pages of accounts; connect yours by its page id",
        field="auth_token",
    )


async def connect(
    fetch: HttpClient,
    config: FacebookConfig,
    page_id: str,
    page_token: str,
    name: str | None = None,
    image_url: str | None = None,
) -> ConnectedPage:
    """Make the token a long-lived one, look the page up, subscribe it to our app.

    Raises `Refused`, `Unavailable`.
    """
    path = _path(page_id, "page_id")
    long_lived = await _exchange(fetch, config, page_token)
    fields = urlencode({"fields": f"{PAGE_FIELDS},access_token"})
    page = await _get(fetch, config, f"{config.graph}/{path}?{fields}", long_lived)
    if payload.identifier(page.get("id")) != page_id:
        raise Refused(f"facebook knows page {page_id} under another id; use the id it shows", field="page_id")
    token = payload.text(page.get("access_token")) or long_lived
    form = {"subscribed_fields": ",".join(SUBSCRIBED_FIELDS)}
    done = await _post(fetch, config, f"{config.graph}/{path}/subscribed_apps", token, form)
    if done.get("success") is not True:
        raise Refused(
            "facebook did not subscribe the page to the app; check the permissions of the token",
            field="page_token",
        )
    return ConnectedPage(page_id, name or _name(page) or page_id, image_url or _picture(page), token)


async def disconnect(fetch: HttpClient, config: FacebookConfig, page_id: str, token: str) -> str | None:
    """Stop the page's webhooks. Never in the way: returns why it did not work, None if it did."""
    try:
        url = f"{config.graph}/{_path(page_id, 'page_id')}/subscribed_apps"
        await _call(fetch, "DELETE", _proved(config, url, token), token, None)
    except (Refused, Unavailable) as error:
        return str(error)
    return None


async def profile(fetch: HttpClient, config: FacebookConfig, participant_id: str, token: str) -> Profile:
    """The profile of a contact, or the name in their conversation. Raises `Unavailable`."""
    person = quote(participant_id, safe="")
    found = await _asked(fetch, config, f"{config.graph}/{person}?{urlencode({'fields': PROFILE_FIELDS})}", token)
    if found is not None:
        names = (payload.text(found.get("first_name")), payload.text(found.get("last_name")))
        name = " ".join(part.strip() for part in names if part).strip() or None
        picture = _web_address(found.get("profile_pic"))
        if name or picture:
            return Profile(found=True, display_name=name, avatar_url=picture)
    query = urlencode({"user_id": participant_id, "fields": "participants"})
    listing = await _asked(fetch, config, f"{config.graph}/me/conversations?{query}", token)
    name = _participant_name(listing or {}, participant_id)
    return Profile(found=name is not None, display_name=name)


# --- reading what Graph says


def _account(page: Mapping[str, object], connected_ids: Collection[str]) -> Account | None:
    page_id = payload.identifier(page.get("id"))
    if page_id is None:
        return None
    return Account(page_id, _name(page) or page_id, _picture(page), page_id in connected_ids)


def _name(page: Mapping[str, object]) -> str | None:
    return payload.text(page.get("name_with_location_descriptor")) or payload.text(page.get("name"))


def _picture(page: Mapping[str, object]) -> str | None:
    return _web_address(payload.record(payload.record(page.get("picture")).get("data")).get("url"))


def _web_address(thing: object) -> str | None:
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


def _next(config: FacebookConfig, link: object) -> str | None:
    """The rest of a listing: on the same server only, and without the token Meta writes into its links."""
    if not isinstance(link, str) or not link:
        return None
    there, here = urlsplit(link), urlsplit(config.graph_url)
    if (there.scheme, there.netloc) != (here.scheme, here.netloc):
        raise Refused("facebook's listing goes on at another server; it is not followed", field="auth_token")
    query = [(key, text) for key, text in parse_qsl(there.query) if key not in _SECRET_PARAMETERS]
    return there._replace(query=urlencode(query), fragment="").geturl()


# --- calling


async def _exchange(fetch: HttpClient, config: FacebookConfig, token: str) -> str:
    form = {
        "grant_type": "fb_exchange_token",
        "client_id": config.app_id,
        "client_secret": config.app_secrets[0],
        "fb_exchange_token": token,
    }
    answer = await fetch(
        "POST",
        f"{config.graph}/oauth/access_token",
        body=urlencode(form).encode(),
        total_s=_TIME_OUT_S,
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    found = _settled(answer, token, *config.app_secrets)
    exchanged = payload.text(found.get("access_token"))
    if exchanged is None:
        raise Refused("facebook exchanged the token for nothing; ask for a new one", field="page_token")
    return exchanged


async def _get(fetch: HttpClient, config: FacebookConfig, url: str, token: str) -> dict[str, object]:
    return await _call(fetch, "GET", _proved(config, url, token), token, None)


async def _post(
    fetch: HttpClient,
    config: FacebookConfig,
    url: str,
    token: str,
    form: Mapping[str, str],
) -> dict[str, object]:
    body = msgspec.json.encode({**form, "appsecret_proof": graph.proof(config, token)})
    return await _call(fetch, "POST", url, token, body)


async def _asked(fetch: HttpClient, config: FacebookConfig, url: str, token: str) -> dict[str, object] | None:
    """Like `_get`, but a rejection that concerns the requested contact is an answer too."""
    answer = await fetch("GET", _proved(config, url, token), headers=graph.headers(token), total_s=_TIME_OUT_S)
    error = graph.error_of(graph.document(answer))
    if error is not None and error.code in graph.TOKEN_CODES:
        raise Unavailable(f"the page's token is refused: {error.message}; connect the page again")
    try:
        return _settled(answer, token)
    except Refused:
        return None


async def _call(fetch: HttpClient, method: str, url: str, token: str, body: bytes | None) -> dict[str, object]:
    answer = await fetch(method, url, headers=graph.headers(token), body=body, total_s=_TIME_OUT_S)
    return _settled(answer, token)


def _settled(answer: Response, *secrets: str) -> dict[str, object]:
    """The object Graph answered with. Raises `Refused` or `Unavailable`."""
    found = graph.document(answer)
    error = graph.error_of(found)
    if error is not None:
        said = graph.masked(error.message, *secrets)
        vague = error.code == 1  # also returned for a wrong app secret: the caller has to see it
        if (error.transient and not vague) or answer.status >= 500 or answer.status == 429:
            raise Unavailable(f"facebook is busy: {said}", retry_after_s=graph.retry_after_s(answer))
        raise Refused(said)
    if 200 <= answer.status < 300 and found is not None:
        return found
    if answer.status == 429 or answer.status >= 500 or 200 <= answer.status < 300:
        message = f"facebook answered {answer.status} with something that is not Graph's; try again later"
        raise Unavailable(message, retry_after_s=graph.retry_after_s(answer))
    raise Refused(f"facebook answered {answer.status}; check graph_url and graph_version")


def _proved(config: FacebookConfig, url: str, token: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}appsecret_proof={graph.proof(config, token)}"


def _path(thing: str, field: str) -> str:
    if not _PATH_SAFE.fullmatch(thing):
        raise Refused(f"{field} is not an id facebook gives: digits, without spaces", field=field)
    return thing
