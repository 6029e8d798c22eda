"""Agents: their service account is checked, and the webhook's address is left to the operator."""

import re

from airy.errors import Refused
from airy.http_client import HttpClient
from airy.secret import Secret
from airy.sources.api import Connected, Installation, Setting
from airy.sources.google.spec import ConnectAgent, GoogleSection
from airy.sources.google_api import service_account
from airy.sources.google_api.access_token import AccessTokens

_AGENT = re.compile(r"(?:(?:brands/[^/\s]+/)?agents/)?([^/\s]{1,128})")


async def connect(
    client: HttpClient, section: GoogleSection, tokens: AccessTokens, form: ConnectAgent, installation: Installation
) -> Connected:
    """Has a token issued to the service account, if there is one. Raises `Refused`, `Unavailable`."""
    match = _AGENT.fullmatch(form.gbm_id.strip())
    if match is None:
        raise Refused("gbm_id is not the id of an agent", field="gbm_id")
    key = form.service_account or section.sa_file
    if key is not None:
        await tokens.token(client, service_account.read(key), installation.now_ms())
    own = {"service_account": form.service_account, "partner_key": form.partner_key}
    webhook = f"{installation.public_url}/google"
    paste = "At Google, set this address as the agent's webhook." if installation.public_url else ""
    without = "" if key is not None else "Without a service account, messages are received and none is sent."
    return Connected(
        account=match[1],
        name=form.name,
        image_url=form.image_url,
        metadata={},
        credentials={name: secret for name, secret in own.items() if secret},
        instructions=" ".join(filter(None, (paste, without))),
        settings=(Setting("webhook_url", Secret(webhook)),) if installation.public_url else (),
    )
