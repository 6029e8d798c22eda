"""Twilio: numbers for SMS and senders for WhatsApp, one webhook for both kinds.

Twilio signs the address it calls, so this installation's public address has to be configured. One account may be
configured for all channels; a channel connected with an account of its own keeps those secrets itself.
"""

from typing import Annotated

from msgspec import Meta, field

from airy.secret import Secret
from airy.sources.canonical import MEDIA
from airy.sources.spec import Capabilities, ChannelForm, Kind, Recipients, SendLimits, SourceSection, SourceSpec, Url


class TwilioSection(SourceSection, frozen=True, kw_only=True):
    """`auth_token`: newest first; a second is accepted for webhooks while one is rotated out.

    `shared_keys`: keys of Twilio's webhook rules by their id, for requests signed with HMAC-SHA256.
    """

    account_sid: Annotated[str, Meta(description="default account; a channel may have its own")] = ""
    auth_token: Annotated[tuple[Secret, ...], Meta(description="a list during rotation, the new one first")] = ()
    shared_keys: Annotated[
        dict[str, Secret], Meta(description="keys of webhook rules by id, for HMAC-SHA256 signatures")
    ] = field(default_factory=dict)
    api_url: Url = "https://api.twilio.com"
    messaging_url: Url = "https://messaging.twilio.com"


class ConnectNumber(ChannelForm, frozen=True, kw_only=True):
    """The name is required, as in the original. Without an account of its own, the channel uses the configured one."""

    name: str
    phone_number: str
    account_sid: str | None = None
    auth_token: Secret | None = None
    messaging_service_sid: str | None = None


PUNCTUATION = " -().\u00a0"  # people write numbers with it, Twilio does not
CREDENTIALS = ("account_sid", "auth_token")
RETRIES = "#rc=3&rp=ct,rt,5xx"
"""What Twilio repeats of a call of ours, within its 15 s; by default a failed connection alone, once."""

SPEC = SourceSpec(
    name="twilio",
    title="Twilio SMS and WhatsApp",
    kinds=(
        Kind(
            name="twilio.sms",
            title="Twilio SMS number",
            account="phone number, +4930…",
            connect=ConnectNumber,
            limits=SendLimits(per_s=20.0, parallel_max=16),
            recipients=Recipients(
                pattern=r"\+[1-9]\d{5,14}|\d{3,8}",
                expected="a phone number with its country code, such as +4915112345678, or a short code",
                ignored=PUNCTUATION,
            ),
            capabilities=Capabilities(
                receives=("text", "image", "video", "file"),
                sends=("text", *MEDIA, "choice", "template"),
                receipts=("sent", "delivered"),
                media="provider",
                starts=True,
            ),
            credentials=CREDENTIALS,
            webhook_credential="auth_token",
            check_every_s=3_600.0,
        ),
        Kind(
            name="twilio.whatsapp",
            title="Twilio WhatsApp sender",
            account="whatsapp: and the phone number",
            connect=ConnectNumber,
            limits=SendLimits(per_s=80.0, parallel_max=16),
            recipients=Recipients(
                pattern=r"whatsapp:(\+[1-9]\d{5,14}|[A-Z]{2}\.[A-Za-z0-9]{1,128})",
                expected="a phone number with its country code, such as +4915112345678, or an id such as DE.1A2B3C",
                ignored=" -()",
                prefix="whatsapp:",
            ),
            capabilities=Capabilities(
                receives=("text", "image", "video", "audio", "file", "location", "postback"),
                sends=("text", *MEDIA, "location", "choice", "template"),
                profile="webhook",
                receipts=("sent", "delivered", "read"),
                typing=True,
                media="provider",
                starts=True,
            ),
            credentials=CREDENTIALS,
            webhook_credential="auth_token",
            check_every_s=3_600.0,
        ),
    ),
    section=TwilioSection,
    webhooks=("/twilio", "/twilio/status"),
    webhook_suffix=RETRIES,
    services=("sources-twilio-connector", "sources-twilio-events-router"),
    build="airy.sources.twilio.source:Twilio",
    public_url=True,
    identities=True,
)
