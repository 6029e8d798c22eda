"""The Twilio account a channel belongs to: its own, or the configured one."""

from base64 import b64encode
from urllib.parse import quote

from msgspec import Struct

from airy.model import metadata
from airy.secret import Secret
from airy.sources.api import Call, Target
from airy.sources.twilio.spec import TwilioSection


class TwilioAccount(Struct, frozen=True):
    sid: str
    token: Secret

    def __repr__(self) -> str:
        return f"TwilioAccount({self.sid})"

    def call(self, method: str, url: str, body: bytes | None = None, content_type: Secret | None = None) -> Call:
        """A call with this account's credentials."""
        pair = b64encode(f"{self.sid}:{self.token.reveal()}".encode()).decode()
        headers = {"authorization": Secret(f"Basic {pair}")}
        if content_type is not None:
            headers["content-type"] = content_type
        return Call(method, Secret(url), headers, body, (self.token, Secret(pair)))


def of(section: TwilioSection, target: Target) -> TwilioAccount | None:
    sid, token = target.credentials.get("account_sid"), target.credentials.get("auth_token")
    if sid is not None and token is not None:
        return TwilioAccount(sid.reveal(), token)
    return configured(section)


def configured(section: TwilioSection) -> TwilioAccount | None:
    if not section.account_sid or not section.auth_token:
        return None
    return TwilioAccount(section.account_sid, section.auth_token[0])


def resource(section: TwilioSection, owner: TwilioAccount, name: str) -> str:
    return f"{section.api_url.rstrip('/')}/2010-04-01/Accounts/{quote(owner.sid, safe='')}/{name}"


def messages_url(section: TwilioSection, owner: TwilioAccount) -> str:
    return resource(section, owner, "Messages.json")


def messaging_service(target: Target) -> str | None:
    return metadata.text(target.channel.metadata, "messaging_service_sid")
