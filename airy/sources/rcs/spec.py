"""RCS for Business, Google's successor of Business Messages: agents that write to phone numbers.

A webhook wraps its event in base64, and is signed over the event. Google takes our message id as its own and ignores
the second message with it.
"""

from typing import Annotated

from msgspec import Meta

from airy.secret import Secret
from airy.sources.canonical import MEDIA
from airy.sources.spec import Capabilities, ChannelForm, Kind, Recipients, SendLimits, SourceSection, SourceSpec, Url


class RcsSection(SourceSection, frozen=True, kw_only=True):
    """`client_token`: newest first; a second is accepted for webhooks while one is rotated out."""

    service_account: Annotated[
        Secret | None, Meta(description="its JSON key in one line; a channel may have its own")
    ] = None
    client_token: Annotated[
        tuple[Secret, ...], Meta(description="signs webhooks; a list during rotation, the new one first")
    ] = ()
    api_url: Annotated[Url, Meta(description="of the agent's region: us, europe or asia")] = (
        "https://europe-rcsbusinessmessaging.googleapis.com"
    )
    oauth_url: Url = "https://oauth2.googleapis.com/token"
    mark_read: Annotated[
        bool, Meta(description="false: contacts do not see that conversations.mark-read marked their messages")
    ] = True


class ConnectRcsAgent(ChannelForm, frozen=True, kw_only=True):
    """Without secrets of its own, the channel uses the configured ones."""

    agent_id: str
    service_account: Secret | None = None
    client_token: Secret | None = None


SPEC = SourceSpec(
    name="rcs",
    title="RCS for Business",
    kinds=(
        Kind(
            name="rcs",
            title="RCS for Business agent",
            account="agent id",
            connect=ConnectRcsAgent,
            recipients=Recipients(
                pattern=r"\+[1-9]\d{5,14}",
                expected="a phone number with its country code, such as +4915112345678",
                ignored=" -().\u00a0",
            ),
            limits=SendLimits(per_s=20.0, parallel_max=16),
            capabilities=Capabilities(
                receives=("text", "image", "video", "audio", "file", "location", "postback"),
                sends=("text", *MEDIA, "card", "carousel", "choice"),
                receipts=("delivered", "read"),
                mark_read=True,
                typing=True,
                media="url",
                starts=True,
            ),
            credentials=("service_account", "client_token"),
            webhook_credential="client_token",
        ),
    ),
    section=RcsSection,
    webhooks=("/rcs",),
    build="airy.sources.rcs.source:Rcs",
    services=("sources-rcs-connector", "sources-rcs-events-router"),
    token_exchange=True,
    public_url=True,
)
