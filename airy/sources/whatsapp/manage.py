"""Numbers: checked with the Graph API when they are connected, their business account subscribed; and their files."""

import re
from collections.abc import Collection, Mapping
from urllib.parse import urlencode, urlsplit

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.model import metadata
from airy.model.entity import Channel
from airy.secret import Secret
from airy.sources import payload
from airy.sources.api import Call, Checked, Connected, Installation, Setting, Target
from airy.sources.meta import graph, graph_calls
from airy.sources.meta.app import MetaApp
from airy.sources.whatsapp.spec import ConnectCloudNumber

NUMBER_FIELDS = "id,display_phone_number,verified_name,quality_rating,status,platform_type,is_on_biz_app"
WEBHOOK_FIELDS = (
    "messages",
    "smb_message_echoes",
    "smb_app_state_sync",
    "history",
    "user_preferences",
    "account_update",
    "account_alerts",
    "message_template_status_update",
    "phone_number_quality_update",
)
MANAGEMENT = "whatsapp_business_management"
ACCOUNTS_MAX = 20  # business accounts of one token that are searched for the number
MEDIA_HOSTS = (".fbsbx.com", ".facebook.com", ".fbcdn.net", ".whatsapp.net")  # where the token may go
ONCE = (
    "Once for the app: in its WhatsApp configuration at Meta, set the webhook to this address with the configured "
    "verify token, and subscribe to these fields."
)

_ID = re.compile(r"\d{1,32}")


async def connect(client: HttpClient, app: MetaApp, form: ConnectCloudNumber, installation: Installation) -> Connected:
    """Checks that the token may use the number, and subscribes the app to its business account.

    Raises `Refused`, `Unavailable`.
    """
    number_id = _id(form.phone_number_id, "phone_number_id")
    known = await _inspect(client, app, form.user_token)
    if known.get("is_valid") is False:
        raise Refused("whatsapp does not accept the token any more; create another one", field="user_token")
    token = form.user_token
    if known.get("type") == "USER":
        token = await graph_calls.exchange(client, app, token)
    number = await _get(client, app, number_id, token, fields=NUMBER_FIELDS)
    if payload.identifier(number.get("id")) != number_id:
        raise Refused(
            f"whatsapp knows number {number_id} under another id; use the id it shows", field="phone_number_id"
        )
    account_id = form.waba_id and _id(form.waba_id, "waba_id")
    account_id = account_id or await _account_of(client, app, number_id, token, known)
    subscribed = account_id is not None and await _subscribe(client, app, account_id, token)
    if form.pin is not None:
        body = {"messaging_product": "whatsapp", "pin": form.pin.reveal()}
        await graph_calls.post(client, app, f"{app.graph}/{number_id}/register", token, body, form.pin)
    shown = payload.text(number.get("display_phone_number"))
    return Connected(
        account=number_id,
        name=form.name,
        image_url=form.image_url,
        metadata={name: told for name, told in (("phone_number", shown), ("waba_id", account_id)) if told is not None},
        credentials={"token": token},
        instructions=_instructions(subscribed=subscribed),
        settings=_settings(installation),
    )


async def disconnect(client: HttpClient, app: MetaApp, target: Target, others: Collection[Channel]) -> str | None:
    """Another number of the same business account keeps its subscription alive."""
    token, account_id = target.credentials.get("token"), metadata.text(target.channel.metadata, "waba_id")
    shared = any(metadata.text(other.metadata, "waba_id") == account_id for other in others)
    if token is None or account_id is None or shared:
        return None
    try:
        await graph_calls.delete(client, app, f"{app.graph}/{_id(account_id, 'waba_id')}/subscribed_apps", token)
    except (Refused, Unavailable) as error:
        return str(error)
    return None


async def check(client: HttpClient, app: MetaApp, target: Target) -> Checked:
    """Whether the token still opens the number, and its account's webhooks go to our app, which is subscribed again
    where they do not. Raises `Unavailable`.
    """
    token, account_id = target.credentials.get("token"), metadata.text(target.channel.metadata, "waba_id")
    number_id = target.channel.source_channel_id
    if token is None:
        return Checked(problem="the channel has no token: connect it again")
    try:
        await _get(client, app, _id(number_id, "phone_number_id"), token, fields="id")
        if account_id is None or await _is_subscribed(client, app, _id(account_id, "waba_id"), token):
            return Checked()
        if not await _subscribe(client, app, account_id, token):
            return Checked(problem="Meta does not list our app at the business account: subscribe it there")
    except Refused as error:
        return Checked(problem=f"Meta refuses the token of number {number_id}: {error}; connect the channel again")
    return Checked(repaired="the business account was not subscribed to our app: messages may be missing")


async def media(client: HttpClient, app: MetaApp, target: Target, reference: str) -> Call:
    """The call for a file's bytes; its address is good for five minutes. Raises `Refused`, `Unavailable`."""
    token = target.credentials.get("token")
    if token is None:
        raise Refused("the channel has no token: connect it again")
    address = reference
    if not reference.startswith("https://"):
        number_id = target.channel.source_channel_id
        found = await _get(client, app, _id(reference, "media_id"), token, phone_number_id=number_id)
        address = payload.text(found.get("url")) or ""
    here, there = urlsplit(app.graph_url), urlsplit(address)
    trusted = (there.hostname or "").endswith(MEDIA_HOSTS) and there.scheme == "https"
    if not trusted and (there.scheme, there.netloc) != (here.scheme, here.netloc):
        raise Refused("the media address is not one of WhatsApp's")
    return Call("GET", Secret(address), {"authorization": graph.headers(token)["authorization"]}, None, (token,))


async def _get(client: HttpClient, app: MetaApp, path: str, token: Secret, **query: str) -> dict[str, object]:
    url = f"{app.graph}/{path}"
    return await graph_calls.get(client, app, f"{url}?{urlencode(query)}" if query else url, token)


async def _inspect(client: HttpClient, app: MetaApp, token: Secret) -> dict[str, object]:
    """What Meta knows about a token; asked with the app's own."""
    own = Secret(f"{app.app_id}|{app.app_secrets[0]}")
    url = f"{app.graph}/debug_token?{urlencode({'input_token': token.reveal()})}"
    request = Call("GET", Secret(url), graph.headers(own), None, (token, own, *map(Secret, app.app_secrets)))
    return payload.record((await graph_calls.answered(client, app, request)).get("data"))


async def _account_of(
    client: HttpClient, app: MetaApp, number_id: str, token: Secret, known: Mapping[str, object]
) -> str | None:
    """The business account that has the number, among those the token was given."""
    scopes = known.get("granular_scopes")
    nodes = [payload.record(each) for each in scopes] if isinstance(scopes, list) else []
    listed = next((node.get("target_ids") for node in nodes if node.get("scope") == MANAGEMENT), None)
    accounts = [found for each in listed if (found := payload.identifier(each))] if isinstance(listed, list) else []
    for account_id in accounts[:ACCOUNTS_MAX]:
        if not _ID.fullmatch(account_id):
            continue
        numbers = (await _get(client, app, f"{account_id}/phone_numbers", token, fields="id")).get("data")
        listing = [payload.record(each) for each in numbers] if isinstance(numbers, list) else []
        if number_id in {payload.identifier(each.get("id")) for each in listing}:
            return account_id
    return None


async def _subscribe(client: HttpClient, app: MetaApp, account_id: str, token: Secret) -> bool:
    """Whether the account's webhooks go to our app now, as read back."""
    await graph_calls.post(client, app, f"{app.graph}/{account_id}/subscribed_apps", token, {})
    return await _is_subscribed(client, app, account_id, token)


async def _is_subscribed(client: HttpClient, app: MetaApp, account_id: str, token: Secret) -> bool:
    listed = (await _get(client, app, f"{account_id}/subscribed_apps", token)).get("data")
    nodes = [payload.record(each) for each in listed] if isinstance(listed, list) else []
    return app.app_id in {
        payload.identifier(payload.record(node.get("whatsapp_business_api_data")).get("id")) for node in nodes
    }


def _instructions(*, subscribed: bool) -> str:
    if subscribed:
        return ONCE
    return f"Subscribe the app to the number's WhatsApp Business account (POST /<account id>/subscribed_apps). {ONCE}"


def _settings(installation: Installation) -> tuple[Setting, ...]:
    fields = Setting("webhook_fields", Secret(",".join(WEBHOOK_FIELDS)))
    if not installation.public_url:
        return (fields,)
    return (Setting("webhook_url", Secret(f"{installation.public_url}/whatsapp")), fields)


def _id(thing: str, field: str) -> str:
    if not _ID.fullmatch(thing):
        raise Refused(f"{field} is not an id Meta gives: digits, without spaces", field=field)
    return thing
