"""`/channels.*`"""

from msgspec import Struct

from airy.commands import NotFound
from airy.errors import Refused
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.ports import ApiContext
from airy.http.request_bodies import Id, LongText, Text
from airy.http.resource import Resource
from airy.http.response_schemas import ChannelSchema, FacebookPageSchema, ListSchema
from airy.model.render import render_channel
from airy.secret import Secret


class ListChannels(Struct, frozen=True):
    source: Text | None = None


class ChannelReference(Struct, frozen=True):
    channel_id: Id


class UpdateChannel(Struct, frozen=True):
    channel_id: Id
    name: Text | None = None
    image_url: LongText | None = None


class ConnectFacebook(Struct, frozen=True):
    page_id: Text
    page_token: Secret
    name: Text | None = None
    image_url: LongText | None = None


class ExploreFacebook(Struct, frozen=True):
    auth_token: Secret | None = None
    token: Secret | None = None  # the field's name in the original Airy's JavaScript client


@action("/channels.list", permission=Permission.READ, body=ListChannels, returns=ListSchema[ChannelSchema])
async def list_(api: ApiContext, request: ActionRequest[ListChannels]) -> Reply:
    """All connected channels, or those of one source."""
    found = await api.store.channels(source=request.body.source)
    return Reply({"data": [render_channel(channel) for channel in found]})


@action("/channels.info", permission=Permission.READ, body=ChannelReference, returns=ChannelSchema)
async def info(api: ApiContext, request: ActionRequest[ChannelReference]) -> Reply:
    """One connected channel."""
    channel = await api.store.channel(request.body.channel_id)
    if channel is None or not channel.connected:
        raise NotFound(f"there is no connected channel {request.body.channel_id}", field="channel_id")
    return Reply(render_channel(channel))


@action("/channels.update", permission=Permission.MANAGE, body=UpdateChannel, returns=ChannelSchema)
async def update(api: ApiContext, request: ActionRequest[UpdateChannel]) -> Reply:
    """Change the name or the picture of a connected channel."""
    body = request.body
    written = await api.commands.channels.update(body.channel_id, name=body.name, image_url=body.image_url)
    return Reply(render_channel(written.value), position=written.position)


@action("/channels.facebook.connect", permission=Permission.MANAGE, body=ConnectFacebook, returns=ChannelSchema)
async def connect_facebook(api: ApiContext, request: ActionRequest[ConnectFacebook]) -> Reply:
    """Connect a Facebook page. The token is exchanged for a long-lived one, which no response contains."""
    body = request.body
    written = await api.commands.channels.connect_facebook(
        body.page_id, body.page_token, name=body.name, image_url=body.image_url
    )
    return Reply(render_channel(written.value), position=written.position)


@action(
    "/channels.facebook.explore",
    "/facebook.channels.explore",
    permission=Permission.MANAGE,
    body=ExploreFacebook,
    returns=ListSchema[FacebookPageSchema],
)
async def explore_facebook(api: ApiContext, request: ActionRequest[ExploreFacebook]) -> Reply:
    """The Facebook pages a user token gives access to."""
    token = request.body.auth_token or request.body.token
    if token is None:
        raise Refused("is required", field="auth_token")
    accounts = await api.commands.channels.explore_facebook(token)
    return Reply(
        {
            "data": [
                {
                    "page_id": account.source_channel_id,
                    "name": account.name,
                    "image_url": account.image_url,
                    "connected": account.connected,
                }
                for account in accounts
            ]
        }
    )


@action("/channels.facebook.disconnect", permission=Permission.MANAGE, body=ChannelReference, status=204)
async def disconnect_facebook(api: ApiContext, request: ActionRequest[ChannelReference]) -> Reply:
    """Disconnect a channel of any source. Idempotent."""
    return Reply(position=await api.commands.channels.disconnect(request.body.channel_id))


RESOURCES = (
    Resource(name="channels", component="api-admin", actions=(list_, info, update)),
    Resource(
        name="channels.facebook",
        component="sources-facebook",
        actions=(connect_facebook, explore_facebook, disconnect_facebook),
    ),
)
