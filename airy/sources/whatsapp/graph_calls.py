"""Calls of the Graph API that are not messages, as objects or errors: `Refused` with Meta's words, or `Unavailable`."""

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
from airy.sources.whatsapp.error_codes import CODES


async def get(client: HttpClient, app: MetaApp, path: str, token: Secret, **query: str) -> dict[str, object]:
    return await _object(client, graph.call("GET", _url(app, path, token, query), token))


async def post(
    client: HttpClient, app: MetaApp, path: str, token: Secret, body: Mapping[str, object], *secrets: Secret
) -> dict[str, object]:
    return await _object(
        client, graph.call("POST", _url(app, path, token, {}), token, msgspec.json.encode(body)), *secrets
    )


async def delete(client: HttpClient, app: MetaApp, path: str, token: Secret) -> dict[str, object]:
    return await _object(client, graph.call("DELETE", _url(app, path, token, {}), token))


async def inspect(client: HttpClient, app: MetaApp, token: Secret) -> dict[str, object]:
    """What Meta knows about a token; asked with the app's own."""
    own = Secret(f"{app.app_id}|{app.app_secrets[0]}")
    url = f"{app.graph}/debug_token?{urlencode({'input_token': token.reveal()})}"
    request = Call("GET", Secret(url), graph.headers(own), None, (token, own, *map(Secret, app.app_secrets)))
    return payload.record((await _object(client, request)).get("data"))


async def exchange(client: HttpClient, app: MetaApp, token: Secret) -> Secret:
    """A long-lived token for one that lives for hours."""
    form = {
        "grant_type": "fb_exchange_token",
        "client_id": app.app_id,
        "client_secret": app.app_secrets[0],
        "fb_exchange_token": token.reveal(),
    }
    headers = {"content-type": Secret("application/x-www-form-urlencoded")}
    url = Secret(f"{app.graph}/oauth/access_token")
    request = Call("POST", url, headers, urlencode(form).encode(), (token, *map(Secret, app.app_secrets)))
    exchanged = payload.text((await _object(client, request)).get("access_token"))
    if exchanged is None:
        raise Refused("whatsapp exchanged the token for nothing; use a system user's", field="user_token")
    return Secret(exchanged)


def _url(app: MetaApp, path: str, token: Secret, query: dict[str, str]) -> str:
    return f"{app.graph}/{path}?{urlencode(query | {'appsecret_proof': graph.proof(app, token)})}"


async def _object(client: HttpClient, request: Call, *secrets: Secret) -> dict[str, object]:
    return _settled(await call(client, request), *request.secrets, *secrets)


def _settled(answer: Response, *secrets: Secret) -> dict[str, object]:
    """The object Graph answered with. Raises `Refused` or `Unavailable`."""
    found = payload.object_of(answer.body)
    error = graph.error_of(found)
    delay_s = retry_after_s(answer)
    if error is not None:
        said = graph.masked(error.message, *(secret.reveal() for secret in secrets))
        meaning = CODES.get(-1 if error.code is None else error.code)
        limited = (
            answer.status == 429 or error.code in graph.RATE_CODES or (meaning is not None and meaning.kind == "rate")
        )
        busy = meaning is not None and meaning.kind == "provider"
        if limited or busy or error.transient or answer.status >= 500:
            kind = AppRateLimited if error.code in graph.APP_RATE_CODES else Unavailable
            wait_s = graph.RATE_S if limited and delay_s is None else delay_s
            raise kind(f"whatsapp is busy: {said}", retry_after_s=wait_s)
        raise Refused(said, field="user_token" if error.code in graph.TOKEN_CODES else None)
    if 200 <= answer.status < 300 and found is not None:
        return found
    if answer.status == 429 or answer.status >= 500 or 200 <= answer.status < 300:
        message = f"whatsapp answered {answer.status} with something that is not Graph's; try again later"
        raise Unavailable(message, retry_after_s=delay_s)
    raise Refused(f"whatsapp answered {answer.status}; check graph_url and graph_version")
