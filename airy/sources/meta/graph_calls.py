"""Calls of the Graph API that are not messages: their answer is an object, `Refused` with Meta's own words, or
`Unavailable`.

Tokens travel in headers and bodies wherever Meta takes them there, and are removed from whatever it says about them.
`MetaApp.title` is what errors call the API.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient, Response
from airy.secret import Secret
from airy.sources import payload
from airy.sources.api import AppRateLimited, Call
from airy.sources.calling import call
from airy.sources.meta import graph
from airy.sources.meta.app import MetaApp
from airy.sources.retry_after import retry_after_s

TOKEN_S = 600.0  # after a refused token: connecting the account again takes an operator

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


async def get(client: HttpClient, app: MetaApp, url: str, token: Secret) -> dict[str, object]:
    return await answered(client, app, graph.call("GET", proved(app, url, token), token))


async def post(
    client: HttpClient, app: MetaApp, url: str, token: Secret, fields: Mapping[str, object], *secrets: Secret
) -> dict[str, object]:
    body = msgspec.json.encode({**fields, **graph.proved(app, token)})
    return await answered(client, app, graph.call("POST", url, token, body), *secrets)


async def delete(client: HttpClient, app: MetaApp, url: str, token: Secret) -> dict[str, object]:
    return await answered(client, app, graph.call("DELETE", proved(app, url, token), token))


async def asked(client: HttpClient, app: MetaApp, url: str, token: Secret) -> dict[str, object] | None:
    """Like `get`, but None where Graph refuses the contact and not the caller."""
    answer = await call(client, graph.call("GET", proved(app, url, token), token))
    error = graph.error_of(payload.object_of(answer.body))
    if error is not None and error.code in graph.TOKEN_CODES:
        said = graph.masked(error.message, token.reveal())
        message = f"the channel's token is refused: {said}; connect it again"
        raise Unavailable(message, retry_after_s=TOKEN_S)
    try:
        return settled(app, answer, token)
    except Refused:
        return None


async def exchange(client: HttpClient, app: MetaApp, token: Secret) -> Secret:
    """A long-lived token for one that lives for hours."""
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
    found = await answered(client, app, request, *map(Secret, app.app_secrets))
    exchanged = payload.text(found.get("access_token"))
    if exchanged is None:
        raise Refused(f"{app.title} exchanged the token for nothing; ask for a new one", field="page_token")
    return Secret(exchanged)


async def answered(client: HttpClient, app: MetaApp, request: Call, *secrets: Secret) -> dict[str, object]:
    """`secrets`: what Meta may quote besides those of the request."""
    return settled(app, await call(client, request), *request.secrets, *secrets)


def settled(app: MetaApp, answer: Response, *secrets: Secret) -> dict[str, object]:
    """The object Graph answered with. Raises `Refused`, `Unavailable`."""
    found = payload.object_of(answer.body)
    error = graph.error_of(found)
    delay_s = retry_after_s(answer)
    if error is not None:
        said = graph.masked(error.message, *(secret.reveal() for secret in secrets))
        vague = error.code == 1  # also the answer to a wrong app secret, which the caller has to see
        if (error.transient and not vague) or answer.status >= 500 or answer.status == 429:
            limited = error.code in graph.RATE_CODES or answer.status == 429
            kind = AppRateLimited if error.code in graph.APP_RATE_CODES else Unavailable
            wait_s = graph.RATE_S if limited and delay_s is None else delay_s
            raise kind(f"{app.title} is busy: {said}", retry_after_s=wait_s)
        raise Refused(said)
    if 200 <= answer.status < 300 and found is not None:
        return found
    if answer.status == 429 or answer.status >= 500 or 200 <= answer.status < 300:
        message = f"{app.title} answered {answer.status} with something that is not Graph's; try again later"
        raise Unavailable(message, retry_after_s=delay_s)
    raise Refused(f"{app.title} answered {answer.status}; check graph_url and graph_version")


def proved(app: MetaApp, url: str, token: Secret) -> str:
    query = urlencode(graph.proved(app, token))
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


def id_in_path(thing: str, field: str) -> str:
    """An id that may be part of an address. Raises `Refused`."""
    if not _ID.fullmatch(thing):
        raise Refused(f"{field} is not an id Meta gives: digits, without spaces", field=field)
    return thing
