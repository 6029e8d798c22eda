"""WhatsApp Cloud API: numbers of WhatsApp Business accounts, subscribed to a Meta app whose webhook is `/whatsapp`.

A contact is a phone number or, where the number is hidden, a business-scoped user id (BSUID) such as
`DE.9k2f0000000001`; both may be known, and both may change. A group is a contact as well.
"""

from airy.secret import Secret
from airy.sources.canonical import MEDIA
from airy.sources.meta.section import CHECK_EVERY_S, GraphSection
from airy.sources.spec import Capabilities, ChannelForm, Kind, Recipients, SendLimits, SourceSpec


class WhatsAppSection(GraphSection, frozen=True):
    pass


class ConnectCloudNumber(ChannelForm, frozen=True, kw_only=True):
    """The name is required, as in the original. `waba_id`: the WhatsApp Business account of the number, found by the
    token if it is left out. `pin` registers the number with it.
    """

    phone_number_id: str
    user_token: Secret
    name: str
    waba_id: str | None = None
    pin: Secret | None = None


SPEC = SourceSpec(
    name="whatsapp",
    title="WhatsApp Cloud API",
    kinds=(
        Kind(
            name="whatsapp",
            title="WhatsApp number",
            account="phone number id",
            account_field="phone_number_id",
            connect=ConnectCloudNumber,
            recipients=Recipients(
                pattern=r"[1-9]\d{5,14}|[A-Z]{2}\.[A-Za-z0-9.]{1,140}",
                expected="a phone number with its country code, such as 4915112345678, or an id such as DE.9k2f00001",
                ignored=" +-()\u00a0",
            ),
            limits=SendLimits(per_s=80.0, parallel_max=16, conversation_per_s=1 / 6, conversation_burst=45),
            capabilities=Capabilities(
                receives=("text", *MEDIA, "location", "contacts", "postback", "system"),
                sends=("text", *MEDIA, "location", "contacts", "card", "choice", "template"),
                updates=("edit", "deletion", "reaction"),
                profile="webhook",
                receipts=("sent", "delivered", "read"),
                echoes=False,
                mark_read=True,
                typing=True,
                media="provider",
                starts=True,
            ),
            credentials=("token",),
            check_every_s=CHECK_EVERY_S,
        ),
    ),
    section=WhatsAppSection,
    webhooks=("/whatsapp",),
    webhook_bytes_max=4_194_304,  # 3 MB, says Meta
    services=("sources-whatsapp-connector", "sources-whatsapp-events-router"),
    build="airy.sources.whatsapp.source:WhatsApp",
    identities=True,
)
