"""`/channels.*`. Connect, explore and disconnect are derived from the catalogue of sources, per kind of channel."""

from collections.abc import Sequence
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from airy.commands import NotFound
from airy.http.action import Action, ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.ports import ApiContext
from airy.http.request_bodies import FilledText, Id, Line, LongLine, LongText, Text
from airy.http.resource import Resource
from airy.http.response_schemas import ConnectedChannelSchema, ListedChannelSchema, ListSchema
from airy.model.entity import Channel
from airy.model.render import render_channel, timestamp
from airy.secret import Secret
from airy.sources.catalogue import SOURCES
from airy.sources.spec import ChannelForm, Kind

F = TypeVar("F", bound=Struct)


class ListChannels(Struct, frozen=True):
    source: FilledText | None = None


class ChannelReference(Struct, frozen=True):
    channel_id: Id


class UpdateChannel(Struct, frozen=True):
    channel_id: Id
    name: Text | None = None
    image_url: LongText | None = None


@action("/channels.list", permission=Permission.READ, body=ListChannels, returns=ListSchema[ListedChannelSchema])
async def list_(api: ApiContext, request: ActionRequest[ListChannels]) -> Reply:
    """All connected channels, or those of one source."""
    found = await api.store.channels(source=request.body.source)
    return Reply({"data": await _listed(api, found)})


@action("/channels.info", permission=Permission.READ, body=ChannelReference, returns=ListedChannelSchema)
async def info(api: ApiContext, request: ActionRequest[ChannelReference]) -> Reply:
    """One connected channel."""
    channel = await api.store.channel(request.body.channel_id)
    if channel is None or not channel.connected:
        raise NotFound(f"there is no connected channel {request.body.channel_id}", field="channel_id")
    (document,) = await _listed(api, [channel])
    return Reply(document)


@action("/channels.update", permission=Permission.MANAGE, body=UpdateChannel, returns=ListedChannelSchema)
async def update(api: ApiContext, request: ActionRequest[UpdateChannel]) -> Reply:
    """Change the name or the picture of a connected channel."""
    body = request.body
    written = await api.commands.channels.update(body.channel_id, name=body.name, image_url=body.image_url)
    (document,) = await _listed(api, [written.value])
    return Reply(document, position=written.position)


async def _listed(api: ApiContext, channels: Sequence[Channel]) -> list[dict[str, object]]:
    """With what an operator asks about a channel; events and other answers do not have it."""
    activity = await api.store.channel_activity([channel.id for channel in channels])
    return [
        {
            **render_channel(channel),
            "webhook_url": api.commands.channels.webhook_url(channel),
            "last_inbound_at": _time(activity[channel.id].last_inbound_ms),
            "last_outbound_at": _time(activity[channel.id].last_outbound_ms),
        }
        for channel in channels
    ]


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else timestamp(at_ms)


# --- by kind of channel


def connect(kind: Kind, form: type[ChannelForm]) -> Action:
    async def handler(api: ApiContext, request: ActionRequest[Any]) -> Reply:
        written = await api.commands.channels.connect(kind.name, _form(form, request.body), request.context)
        done = written.value
        document = render_channel(done.channel)
        if done.instructions:
            document["instructions"] = done.instructions
            document["settings"] = {setting.name: setting.value.reveal() for setting in done.settings}
        return Reply(document, position=written.position)

    handler.__doc__ = f"Connect a channel: {kind.title}. Its credentials are sealed, and no response contains them."
    return action(
        f"/channels.{kind.name}.connect",
        permission=Permission.MANAGE,
        body=request_body(f"Connect{_camel(kind.name)}", form),
        returns=ConnectedChannelSchema,
    )(handler)


def explore(kind: Kind, form: type[Struct]) -> Action:
    async def handler(api: ApiContext, request: ActionRequest[Any]) -> Reply:
        accounts = await api.commands.channels.explore(kind.name, _form(form, request.body))
        return Reply(
            {
                "data": [
                    {
                        kind.account_field: account.source_channel_id,
                        "name": account.name,
                        "image_url": account.image_url,
                        "connected": account.connected,
                    }
                    for account in accounts
                ]
            }
        )

    handler.__doc__ = f"The accounts that can be connected: {kind.title}."
    schema: Any = msgspec.defstruct(
        f"{_camel(kind.name)}AccountSchema",
        [(kind.account_field, str), ("name", str), ("image_url", str | None), ("connected", bool)],
        forbid_unknown_fields=True,
    )
    return action(
        f"/channels.{kind.name}.explore",
        f"/{kind.name}.channels.explore",
        permission=Permission.MANAGE,
        body=request_body(f"Explore{_camel(kind.name)}", form),
        returns=ListSchema[schema],
    )(handler)


def disconnect(kind: Kind) -> Action:
    async def handler(api: ApiContext, request: ActionRequest[ChannelReference]) -> Reply:
        """Disconnect a channel of any source. Idempotent."""
        return Reply(position=await api.commands.channels.disconnect(request.body.channel_id))

    path = f"/channels.{kind.name}.disconnect"
    return action(path, permission=Permission.MANAGE, body=ChannelReference, status=204)(handler)


def request_body(name: str, form: type[Struct]) -> type[Struct]:
    """The fields of a source's form as a request body: lines of bounded length."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(form):
        kind = _bounded(field.type, LongLine if field.name.endswith("url") else Line)
        fields.append((field.name, kind) if field.required else (field.name, kind, field.default))
    return msgspec.defstruct(name, fields, frozen=True, kw_only=True)


def _form(form: type[F], body: Struct) -> F:
    """The form of a request. A blank optional secret counts as absent."""
    given = msgspec.structs.asdict(body)
    return form(**{name: value for name, value in given.items() if not (isinstance(value, Secret) and not value)})


def _bounded(kind: Any, text: type[Text]) -> Any:
    if kind is str:
        return text
    if get_origin(kind) in {Union, UnionType}:
        return Union[tuple(_bounded(member, text) for member in get_args(kind))]  # noqa: UP007 - members are values here
    return kind


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("."))


def _actions(kind: Kind) -> tuple[Action, ...]:
    explored = () if kind.explore is None else (explore(kind, kind.explore),)
    connected = () if kind.connect is None else (connect(kind, kind.connect),)
    return (*connected, *explored, disconnect(kind))


RESOURCES = (
    Resource(name="channels", component="api-admin", actions=(list_, info, update)),
    *(
        Resource(name=f"channels.{kind.name}", component=f"sources-{spec.name}", actions=_actions(kind))
        for spec in SOURCES
        for kind in spec.kinds
    ),
)
