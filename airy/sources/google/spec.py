"""Google Business Messages: agents, written to through one API with the token of a service account.

Google ended the service on 31 July 2024. The source is for those with an archive of webhooks, and for their channels,
conversations and clients: it routes, answers and sends as the service did.
"""

from typing import Annotated

from msgspec import Meta

from airy.secret import Secret
from airy.sources.spec import Capabilities, ChannelForm, Kind, Recipients, SendLimits, SourceSection, SourceSpec, Url


class GoogleSection(SourceSection, frozen=True, kw_only=True):
    """`partner_key`: newest first; a second is accepted for webhooks while one is rotated out."""

    sa_file: Annotated[
        Secret | None, Meta(description="the JSON key of a service account, in one line; a channel may have its own")
    ] = None
    partner_key: Annotated[
        tuple[Secret, ...], Meta(description="signs webhooks; a list during rotation, the new one first")
    ] = ()
    api_url: Url = "https://businessmessages.googleapis.com"
    oauth_url: Url = "https://oauth2.googleapis.com/token"
    mark_read: Annotated[
        bool, Meta(description="false: contacts do not see that conversations.mark-read marked their messages")
    ] = True


class ConnectAgent(ChannelForm, frozen=True, kw_only=True):
    """The name is required, as in the original. Without secrets of its own, the channel uses the configured ones."""

    gbm_id: str
    name: str
    service_account: Secret | None = None
    partner_key: Secret | None = None


SPEC = SourceSpec(
    name="google",
    title="Google Business Messages, ended in 2024",
    kinds=(
        Kind(
            name="google",
            title="Google Business Messages agent, ended in 2024",
            account="agent id",
            connect=ConnectAgent,
            recipients=Recipients(none="a contact begins the conversation; answer in it by its conversation_id"),
            limits=SendLimits(per_s=20.0, parallel_max=16),
            capabilities=Capabilities(
                receives=("text", "image", "postback", "system"),
                sends=("text", "image", "card", "carousel", "choice"),
                profile="webhook",
                receipts=("delivered", "read"),
                mark_read=True,
                typing=True,
                media="url",
            ),
            credentials=("service_account", "partner_key"),
            webhook_credential="partner_key",
        ),
    ),
    section=GoogleSection,
    webhooks=("/google",),
    services=("sources-google-connector", "sources-google-events-router"),
    build="airy.sources.google.source:Google",
    token_exchange=True,
)
