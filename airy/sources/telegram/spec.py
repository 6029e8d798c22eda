"""Telegram: bots, each with a token and a webhook address of its own, `/telegram/{channel_id}`.

The token is part of every address that is called, so an address is a secret here. Telegram reports neither delivery
nor reading: a sent message stays `sent`. A bot cannot write first.
"""

from typing import Annotated

from msgspec import Meta

from airy.secret import Secret
from airy.sources.canonical import MEDIA
from airy.sources.spec import Capabilities, ChannelForm, Kind, Recipients, SendLimits, SourceSection, SourceSpec, Url

TELEGRAM = "https://api.telegram.org"


class TelegramSection(SourceSection, frozen=True):
    api_url: Url = TELEGRAM
    mark_read: Annotated[
        bool, Meta(description="false: contacts of business accounts do not see that their messages were read")
    ] = True


class ConnectBot(ChannelForm, frozen=True, kw_only=True):
    bot_token: Secret


SPEC = SourceSpec(
    name="telegram",
    title="Telegram",
    kinds=(
        Kind(
            name="telegram",
            title="Telegram bot",
            account="bot id",
            connect=ConnectBot,
            recipients=Recipients(
                pattern=r"([A-Za-z0-9_-]+:)?-?\d{1,18}(:\d{1,18})?", expected="the number of a chat, such as 4711"
            ),
            limits=SendLimits(per_s=30.0, parallel_max=16, conversation_per_s=1.0),
            capabilities=Capabilities(
                receives=(
                    "text",
                    "image",
                    "video",
                    "audio",
                    "voice",
                    "file",
                    "sticker",
                    "location",
                    "contacts",
                    "postback",
                ),
                sends=("text", *MEDIA, "location", "contacts", "card", "choice"),
                updates=("edit", "deletion", "reaction"),
                profile="webhook",
                mark_read=True,
                typing=True,
                media="provider",
            ),
            credentials=("token", "webhook_secret"),
            webhook_credential="webhook_secret",
            check_every_s=3_600.0,
        ),
    ),
    section=TelegramSection,
    webhooks=("/telegram/{channel_id}",),
    build="airy.sources.telegram.source:Telegram",
    services=("sources-telegram-connector", "sources-telegram-events-router"),
    identities=True,
    public_url=True,
)
