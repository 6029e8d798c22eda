"""The Messenger source passes the contract suite with its recorded payloads."""

import hmac
from pathlib import Path

from airy.sources.facebook import Facebook, FacebookConfig
from tests.kit.contracts.source import HTTP_HEADERS, SourceContract

CONFIG = FacebookConfig(app_id="990011", app_secrets=("app-secret",), verify_token="verify-me")


def signature(secret: str, body: bytes) -> HTTP_HEADERS:
    """Computed independently, as Meta documents it."""
    digest = hmac.new(secret.encode(), body, "sha256").hexdigest()
    return [(b"content-type", b"application/json"), (b"x-hub-signature-256", f"sha256={digest}".encode())]


class TestContract(SourceContract):
    source = Facebook(CONFIG)
    folder = Path(__file__).parent / "fixtures"

    def signed(self, body: bytes) -> HTTP_HEADERS:
        return signature("app-secret", body)[1:]

    def forged(self, body: bytes) -> HTTP_HEADERS:
        return signature("another secret", body)[1:]
