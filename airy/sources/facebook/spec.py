"""Facebook Messenger: pages, subscribed to a Meta app whose webhook is `/facebook`.

The webhook also brings Instagram's events where the app's Instagram subscription points here, as in the original; they
are handed to the source `instagram`.
"""

from msgspec import Struct

from airy.secret import Secret
from airy.sources.canonical import MEDIA
from airy.sources.meta.section import CHECK_EVERY_S, RECIPIENTS, WEBHOOK_BYTES_MAX, MetaSection
from airy.sources.spec import Capabilities, ChannelForm, Kind, SendLimits, SourceSpec


class FacebookSection(MetaSection, frozen=True):
    pass


class ConnectPage(ChannelForm, frozen=True, kw_only=True):
    page_id: str
    page_token: Secret


class ExplorePages(Struct, frozen=True, kw_only=True):
    auth_token: Secret | None = None
    token: Secret | None = None  # what the original's JavaScript client calls it


SPEC = SourceSpec(
    name="facebook",
    title="Facebook Messenger",
    kinds=(
        Kind(
            name="facebook",
            title="Facebook page",
            account="page id",
            account_field="page_id",
            connect=ConnectPage,
            explore=ExplorePages,
            recipients=RECIPIENTS,
            limits=SendLimits(per_s=40.0, parallel_max=16),
            capabilities=Capabilities(
                receives=(
                    "text",
                    "image",
                    "video",
                    "audio",
                    "file",
                    "sticker",
                    "location",
                    "card",
                    "postback",
                    "system",
                ),
                sends=("text", *MEDIA, "card", "carousel", "choice", "template"),
                updates=("edit", "deletion", "reaction"),
                profile="provider",
                receipts=("delivered", "read"),
                echoes=True,
                mark_read=True,
                typing=True,
                media="url",
                explore=True,
            ),
            credentials=("token",),
            check_every_s=CHECK_EVERY_S,
        ),
    ),
    section=FacebookSection,
    webhooks=("/facebook",),
    services=("sources-facebook-connector", "sources-facebook-events-router"),
    webhook_bytes_max=WEBHOOK_BYTES_MAX,
    build="airy.sources.facebook.source:Facebook",
)
