"""`/channels.*`"""

from msgspec import Struct

from airy.actors.commands import Unknown
from airy.errors import Refused
from airy.http import shapes
from airy.http.action import Answer, Call, action
from airy.http.auth import Permission
from airy.http.bodies import Id, LongText, Text
from airy.http.ports import Edge
from airy.model.render import render_channel
from airy.secret import Secret


class List(Struct, frozen=True):
    source: Text | None = None


class Reference(Struct, frozen=True):
    channel_id: Id


class Update(Struct, frozen=True):
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
    token: Secret | None = None  # what the original's JavaScript client calls it


@action("/channels.list", permission=Permission.READ, body=List, returns=shapes.Data[shapes.Channel])
async def list_(edge: Edge, call: Call[List]) -> Answer:
    """All connected channels, or those of one source."""
    found = await edge.store.channels(source=call.body.source)
    return Answer({"data": [render_channel(channel) for channel in found]})


@action("/channels.info", permission=Permission.READ, body=Reference, returns=shapes.Channel)
async def info(edge: Edge, call: Call[Reference]) -> Answer:
    """One connected channel."""
    channel = await edge.store.channel(call.body.channel_id)
    if channel is None or not channel.connected:
        raise Unknown(f"there is no connected channel {call.body.channel_id}", field="channel_id")
    return Answer(render_channel(channel))


@action("/channels.update", permission=Permission.MANAGE, body=Update, returns=shapes.Channel)
async def update(edge: Edge, call: Call[Update]) -> Answer:
    """Give a connected channel another name or picture."""
    body = call.body
    done = await edge.commands.channels.update(body.channel_id, name=body.name, image_url=body.image_url)
    return Answer(render_channel(done.value), position=done.position)


@action("/channels.facebook.connect", permission=Permission.MANAGE, body=ConnectFacebook, returns=shapes.Channel)
async def connect_facebook(edge: Edge, call: Call[ConnectFacebook]) -> Answer:
    """Connect a Facebook page; the token is exchanged for a long-lived one and never shown again."""
    body = call.body
    done = await edge.commands.channels.connect_facebook(
        body.page_id, body.page_token, name=body.name, image_url=body.image_url
    )
    return Answer(render_channel(done.value), position=done.position)


@action(
    "/channels.facebook.explore",
    "/facebook.channels.explore",
    permission=Permission.MANAGE,
    body=ExploreFacebook,
    returns=shapes.Data[shapes.FacebookPage],
)
async def explore_facebook(edge: Edge, call: Call[ExploreFacebook]) -> Answer:
    """The Facebook pages a user token gives access to."""
    token = call.body.auth_token or call.body.token
    if token is None:
        raise Refused("is required", field="auth_token")
    accounts = await edge.commands.channels.explore_facebook(token)
    return Answer(
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


@action("/channels.facebook.disconnect", permission=Permission.MANAGE, body=Reference, status=204)
async def disconnect_facebook(edge: Edge, call: Call[Reference]) -> Answer:
    """Disconnect a channel, whatever its source; twice is once."""
    return Answer(position=await edge.commands.channels.disconnect(call.body.channel_id))


ACTIONS = (list_, info, update, connect_facebook, explore_facebook, disconnect_facebook)
