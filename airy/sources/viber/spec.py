"""Viber: bots, each with a token that authenticates calls and signs webhooks.

Webhooks do not name the bot, so each has an address of its own, `/viber/{channel_id}`; at the original's `/viber` the
signature decides. Viber answers every call with HTTP 200 and a status in the body. A message's token exceeds 53 bits.
"""

from typing import Annotated

from msgspec import Meta

from airy.secret import Secret
from airy.sources.canonical import MEDIA
from airy.sources.spec import Capabilities, ChannelForm, Kind, Recipients, SendLimits, SourceSection, SourceSpec, Url

CHECK_EVERY_S = 3_600.0
VIBER = "https://chatapi.viber.com/pa"


class ViberSection(SourceSection, frozen=True, kw_only=True):
    """`auth_token`: newest first; a second is accepted for webhooks while one is rotated out."""

    auth_token: Annotated[
        tuple[Secret, ...], Meta(description="default bot; a channel may have its own; a list during rotation")
    ] = ()
    welcome_message: Annotated[
        str, Meta(description="answers a contact who opens the chat: text, or the JSON of a message")
    ] = ""
    api_url: Url = VIBER


class ConnectViber(ChannelForm, frozen=True, kw_only=True):
    """Without a token of its own, the channel uses the configured one. Name and picture default to the bot's."""

    auth_token: Secret | None = None
    welcome_message: str | None = None


SPEC = SourceSpec(
    name="viber",
    title="Viber",
    kinds=(
        Kind(
            name="viber",
            title="Viber bot",
            account="bot id, pa:…",
            connect=ConnectViber,
            recipients=Recipients(
                pattern=r"[A-Za-z0-9+/=_-]{4,64}", expected="the id of a contact who wrote or subscribed"
            ),
            limits=SendLimits(per_s=40.0, parallel_max=16),
            capabilities=Capabilities(
                receives=(
                    *("text", "image", "video", "file", "sticker", "location", "contacts"),
                    *("postback", "system"),
                ),
                sends=("text", *MEDIA, "location", "contacts", "card", "carousel", "choice"),
                profile="webhook",
                receipts=("delivered", "read"),
                media="url",
                starts=True,
            ),
            credentials=("token",),
            webhook_credential="token",
            channel_namespace="",
            check_every_s=CHECK_EVERY_S,
        ),
    ),
    section=ViberSection,
    webhooks=("/viber", "/viber/{channel_id}"),
    services=("sources-viber-connector",),
    build="airy.sources.viber.source:Viber",
    public_url=True,
)
