"""Accounts connected by Instagram Login: their own token, host and subscription, without a page.

Their token lives for 60 days and can be renewed while it is valid and at least a day old; one that has expired cannot.
Instagram takes and gives tokens in addresses here; a `Call` hides them.
"""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from airy.errors import Refused
from airy.http_client import HttpClient
from airy.model import channel_health
from airy.model.render import timestamp
from airy.secret import Secret
from airy.sources import payload, provider_answer
from airy.sources.api import Call, Checked, Connected, Target
from airy.sources.instagram.spec import ConnectAccount
from airy.sources.meta import graph_calls, pages
from airy.sources.meta.app import MetaApp
from airy.sources.meta.section import INSTAGRAM_LOGIN

ACCOUNT_FIELDS = "user_id,username,name,profile_picture_url"
SUBSCRIBED_FIELDS = (
    "messages",
    "messaging_postbacks",
    "message_reactions",
    "messaging_seen",
    "messaging_referral",
    "message_edit",
    "standby",
)
ESSENTIAL_FIELDS = frozenset({"messages", "messaging_postbacks"})
DAY_MS = 86_400_000
RENEW_MS = 10 * DAY_MS  # before the token expires
ALERT_MS = 5 * DAY_MS


class _Token(NamedTuple):
    token: Secret
    valid_s: float | None  # None: Instagram has not said


async def connect(client: HttpClient, app: MetaApp, form: ConnectAccount) -> Connected:
    """Raises `Refused`, `Unavailable`."""
    if form.token is None:
        raise Refused("is required: the account's token", field="token")
    query = urlencode({"fields": ACCOUNT_FIELDS})
    account = await graph_calls.get(client, app, f"{app.graph}/me?{query}", form.token)
    account_id = payload.identifier(account.get("user_id"))
    if account_id is None:
        raise Refused("instagram names no professional account for this token", field="token")
    if form.account_id not in {None, account_id}:
        raise Refused(f"the token is of the account {account_id}", field="account_id")
    lasting = await _lasting(client, app, form.token)
    await _subscribe(client, app, lasting.token)
    if not await _is_subscribed(client, app, lasting.token):
        raise Refused("instagram did not subscribe the account; check the permissions of the token", field="token")
    username = payload.text(account.get("username"))
    return Connected(
        account=account_id,
        name=form.name or payload.text(account.get("name")) or username or account_id,
        image_url=form.image_url or pages.web_address(account.get("profile_picture_url")),
        metadata={"auth": INSTAGRAM_LOGIN, "account_id": account_id},
        credentials={"token": lasting.token},
        credentials_valid_s=lasting.valid_s,
    )


async def disconnect(client: HttpClient, app: MetaApp, token: Secret) -> None:
    """Raises `Refused`, `Unavailable`."""
    await graph_calls.delete(client, app, f"{app.graph}/me/subscribed_apps", token)


async def check(client: HttpClient, app: MetaApp, target: Target, now_ms: int) -> Checked:
    """Subscribes again where the webhooks have ended, and renews the token. Raises `Unavailable`."""
    token, expire_at_ms = target.credentials.get("token"), channel_health.expire_at_ms(target.channel)
    if token is None:
        return Checked(problem="the channel has no token: connect it again")
    if expire_at_ms is not None and expire_at_ms <= now_ms:
        return Checked(problem=f"the token expired at {timestamp(expire_at_ms)}: connect the channel again")
    repaired = ""
    try:
        if not await _is_subscribed(client, app, token):
            await _subscribe(client, app, token)
            repaired = "Instagram had ended the webhooks of the account: messages may be missing, see its inbox"
    except Refused as error:
        return Checked(problem=f"Instagram refuses the token: {error}; connect the channel again")
    if expire_at_ms is not None and expire_at_ms - now_ms > RENEW_MS:
        return Checked(repaired=repaired)
    try:
        lasting = await _renewed(client, app, token)
    except Refused as error:  # also of a token that is not a day old
        problem = ""
        if expire_at_ms is not None and expire_at_ms - now_ms <= ALERT_MS:
            until = timestamp(expire_at_ms)
            problem = f"the token expires at {until} and is not renewed: {error}; connect the channel again"
        return Checked(repaired=repaired, problem=problem)
    return Checked(repaired=repaired, credentials={"token": lasting.token}, credentials_valid_s=lasting.valid_s)


async def _lasting(client: HttpClient, app: MetaApp, token: Secret) -> _Token:
    """A token of 60 days: for one of an hour, or renewed. One that is neither exchanged nor renewed is new."""
    try:
        return await _exchanged(client, app, token)
    except Refused:
        pass
    try:
        return await _renewed(client, app, token)
    except Refused:
        return _Token(token, None)


async def _exchanged(client: HttpClient, app: MetaApp, token: Secret) -> _Token:
    secret = Secret(app.app_secrets[0])
    query = {"grant_type": "ig_exchange_token", "client_secret": secret.reveal(), "access_token": token.reveal()}
    return await _issued(client, app, "access_token", query, token, secret)


async def _renewed(client: HttpClient, app: MetaApp, token: Secret) -> _Token:
    query = {"grant_type": "ig_refresh_token", "access_token": token.reveal()}
    return await _issued(client, app, "refresh_access_token", query, token)


async def _issued(client: HttpClient, app: MetaApp, path: str, query: Mapping[str, str], *secrets: Secret) -> _Token:
    request = Call("GET", Secret(f"{app.graph_url.rstrip('/')}/{path}?{urlencode(query)}"), {}, None, secrets)
    found = await graph_calls.answered(client, app, request)
    token = payload.text(found.get("access_token"))
    if token is None:
        raise Refused("instagram answered without a token", field="token")
    return _Token(Secret(token), provider_answer.seconds(found.get("expires_in")))


async def _subscribe(client: HttpClient, app: MetaApp, token: Secret) -> None:
    fields = {"subscribed_fields": ",".join(SUBSCRIBED_FIELDS)}
    await graph_calls.post(client, app, f"{app.graph}/me/subscribed_apps", token, fields)


async def _is_subscribed(client: HttpClient, app: MetaApp, token: Secret) -> bool:
    """The list holds the app of the token alone."""
    listing = await graph_calls.get(client, app, f"{app.graph}/me/subscribed_apps", token)
    apps = listing.get("data")
    return any(
        pages.has_fields(payload.record(each), ESSENTIAL_FIELDS) for each in (apps if isinstance(apps, list) else ())
    )
