"""The chat plugin: visitors of a website chat with agents, through Airy's own routes.

There is no provider: what a visitor writes is a request of this API, and a send is done once it is claimed; visitors
read it from the log, through their websocket or when they resume. `delivered` means that it was handed to the visitor's
browser.
"""

from typing import Annotated, Literal

from msgspec import Meta

from airy.sources.canonical import MEDIA
from airy.sources.spec import Capabilities, ChannelForm, Kind, Recipients, SendLimits, SourceSection, SourceSpec

KIND = "chatplugin"


Rate = Annotated[float, Meta(ge=0.01, le=10_000)]
Burst = Annotated[int, Meta(ge=1, le=1_000_000)]


class ChatPluginSection(SourceSection, frozen=True, kw_only=True):
    resume_tokens: Annotated[
        Literal["rotating", "reusable"],
        Meta(description="rotating: each use replaces the token; reusable: for widgets of the original"),
    ] = "rotating"
    requests_per_s: Annotated[Rate, Meta(description="of one visitor, on average, in each process")] = 1.0
    requests_burst: Annotated[Burst, Meta(description="of one visitor, at once")] = 20
    visits_per_s: Annotated[Rate, Meta(description="begun or resumed on one channel, in each process")] = 20.0
    visits_burst: Annotated[Burst, Meta(description="begun or resumed on one channel, at once")] = 200


class ConnectChatPlugin(ChannelForm, frozen=True, kw_only=True):
    name: str


SPEC = SourceSpec(
    name="chatplugin",
    title="Chat plugin",
    kinds=(
        Kind(
            name=KIND,
            title="Chat plugin",
            account="name",
            connect=ConnectChatPlugin,
            limits=SendLimits(per_s=1_000.0, parallel_max=32),
            recipients=Recipients(none="a visitor begins the conversation; answer in it by its conversation_id"),
            capabilities=Capabilities(
                receives=("text", "image", "video", "audio", "file", "postback"),
                sends=("text", *MEDIA, "card", "carousel", "choice"),
                receipts=("delivered",),
                media="url",
            ),
            channel_per_connect=True,
        ),
    ),
    section=ChatPluginSection,
    build="airy.sources.chatplugin.source:ChatPlugin",
    services=("sources-chatplugin",),
    provider=False,
    routes=("/chatplugin.", "/ws.chatplugin"),
    broadcasts=True,
)
