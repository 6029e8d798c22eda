"""Instagram: professional accounts, through a Meta app: linked with a page, or by Instagram Login.

Events arrive at `/instagram`, or at the webhook of the pages where the app's Instagram subscription points there: that
source hands them over. Those it parked before this one was enabled are found by `arrives_with` and replayed when the
account is connected.
"""

from typing import Annotated, Literal

from msgspec import Meta

from airy.secret import Secret
from airy.sources.canonical import MEDIA
from airy.sources.meta.section import CHECK_EVERY_S, RECIPIENTS, WEBHOOK_BYTES_MAX, WEBHOOK_OWNER, MetaSection
from airy.sources.spec import Capabilities, ChannelForm, Kind, SendLimits, SourceSpec, Url


class InstagramSection(MetaSection, frozen=True):
    """`instagram_app_secret` signs some of Instagram's webhooks, and gets tokens of Instagram Login."""

    instagram_app_secret: Annotated[
        tuple[Secret, ...],
        Meta(max_length=2, description="of the app's Instagram product, for Instagram Login; a list during rotation"),
    ] = ()
    instagram_url: Url = "https://graph.instagram.com"


class ConnectAccount(ChannelForm, frozen=True, kw_only=True):
    """Through its page, an account needs `page_id`, `account_id` and `page_token`; by Instagram Login, `token`."""

    auth: Literal["facebook_page", "instagram_login"] = "facebook_page"
    page_id: str | None = None  # of the page the account is linked with
    account_id: str | None = None
    page_token: Secret | None = None
    token: Secret | None = None


SPEC = SourceSpec(
    name="instagram",
    title="Instagram",
    kinds=(
        Kind(
            name="instagram",
            title="Instagram account",
            account="professional account id",
            connect=ConnectAccount,
            recipients=RECIPIENTS,
            limits=SendLimits(per_s=40.0, parallel_max=16),
            capabilities=Capabilities(
                receives=("text", "image", "video", "audio", "file", "card", "story", "postback", "system"),
                sends=("text", *MEDIA, "card", "carousel", "choice"),
                updates=("edit", "deletion", "reaction"),
                profile="provider",
                receipts=("read",),
                echoes=True,
                mark_read=True,
                typing=True,
                media="url",
            ),
            credentials=("token",),
            check_every_s=CHECK_EVERY_S,
        ),
    ),
    section=InstagramSection,
    webhooks=("/instagram",),
    webhook_bytes_max=WEBHOOK_BYTES_MAX,
    build="airy.sources.instagram.source:Instagram",
    services=("sources-instagram-connector", "sources-instagram-events-router"),
    arrives_with=(WEBHOOK_OWNER,),
)
