"""Agents: their service account is checked, and the webhook's address is left to the operator."""

import re

from airy.errors import Refused
from airy.http_client import HttpClient
from airy.secret import Secret
from airy.sources.api import Connected, Installation, Setting
from airy.sources.google_api import service_account
from airy.sources.google_api.access_token import AccessTokens
from airy.sources.rcs.spec import ConnectRcsAgent, RcsSection

_AGENT = re.compile(r"([A-Za-z0-9_.-]{1,128})(?:@rbm\.goog)?")


async def connect(
    client: HttpClient, section: RcsSection, tokens: AccessTokens, form: ConnectRcsAgent, installation: Installation
) -> Connected:
    """Has a token issued to the service account. Raises `Refused`, `Unavailable`."""
    match = _AGENT.fullmatch(form.agent_id.strip())
    if match is None:
        raise Refused("agent_id is not the id of an agent", field="agent_id")
    key = form.service_account or section.service_account
    if key is None:
        raise Refused("give service_account, or configure one", field="service_account")
    if not form.client_token and not section.client_token:
        raise Refused("give client_token, or configure one: Google signs webhooks with it", field="client_token")
    if not installation.public_url:
        raise Refused("the public address of this installation is not configured: Google could not reach it")
    await tokens.token(client, service_account.read(key), installation.now_ms())
    own = {"service_account": form.service_account, "client_token": form.client_token}
    return Connected(
        account=match[1],
        name=form.name or match[1],
        image_url=form.image_url,
        credentials={name: secret for name, secret in own.items() if secret},
        instructions="In Google's console for RCS, set this address as the webhook, with the client token.",
        settings=(Setting("webhook_url", Secret(f"{installation.public_url}/rcs")),),
    )
