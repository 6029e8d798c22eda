"""Instagram: professional accounts, each linked with a page, through a Meta app.

Events arrive at `/instagram`, or at the webhook of the pages where the app's Instagram subscription points there: that
source hands them over. Those it parked before this one was enabled are found by `arrives_with` and replayed when the
account is connected.
"""

from airy.secret import Secret
from airy.sources.canonical import MEDIA
from airy.sources.meta.section import CHECK_EVERY_S, RECIPIENTS, WEBHOOK_BYTES_MAX, WEBHOOK_OWNER, MetaSection
from airy.sources.spec import Capabilities, ChannelForm, Kind, SendLimits, SourceSpec


class InstagramSection(MetaSection, frozen=True):
    """`app_secret` may also list the Instagram app secret, which signs some of Instagram's webhooks."""


class ConnectAccount(ChannelForm, frozen=True, kw_only=True):
    page_id: str  # of the page the account is linked with
    account_id: str
    page_token: Secret


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
    arrives_with=(WEBHOOK_OWNER,),
)
