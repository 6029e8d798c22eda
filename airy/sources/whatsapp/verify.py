"""Requests to `/whatsapp`: Meta's handshake and signature. All secrets are the app's: no account is looked up."""

from airy.sources.api import Verdict, WebhookRequest
from airy.sources.meta import signature
from airy.sources.meta.app import MetaApp


def verify(app: MetaApp, request: WebhookRequest) -> Verdict:
    return signature.verify(app, request)
