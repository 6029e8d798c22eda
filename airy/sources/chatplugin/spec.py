"""The chat plugin: visitors of a website chat with agents, through Airy's own routes.

There is no provider: what a visitor writes is a request of this API, and a send is done once it is claimed; visitors
read it from the log, through their websocket or when they resume. `delivered` means that it was handed to the visitor's
browser.
"""

from airy.sources.spec import Capabilities, ChannelForm, Kind, SendLimits, SourceSection, SourceSpec

KIND = "chatplugin"


class ChatPluginSection(SourceSection, frozen=True, kw_only=True):
    pass


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
            capabilities=Capabilities(receipts=("delivered",), media="url"),
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
