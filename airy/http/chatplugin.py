"""`/chatplugin.*` for widgets of the chat plugin, and the configuration of its channels.

Widgets run on websites of other origins: these routes take every origin that the channel allows, and no cookies.
"""

from typing import Any

from msgspec import Raw, Struct
from msgspec.structs import replace

from airy.commands import Visit
from airy.errors import Refused
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission, forbidden
from airy.http.chatplugin_socket import ROUTE
from airy.http.ports import ApiContext
from airy.http.request_bodies import FilledText, Id, Json, LongFilledText, Text
from airy.http.resource import Resource
from airy.http.response_schemas import (
    ChannelSchema,
    ResumeTokenSchema,
    VisitorMessageSchema,
    VisitStartSchema,
    WidgetSchema,
)
from airy.http.visitor_directory import visit_of
from airy.model import metadata
from airy.model.render import render_channel
from airy.sources.chatplugin import widget
from airy.sources.chatplugin.message import visitor_message
from airy.sources.chatplugin.spec import KIND


class AuthenticateVisitor(Struct, frozen=True):
    channel_id: Id | None = None
    resume_token: LongFilledText | None = None


class ResumeTokenRequest(Struct, frozen=True):
    channel_id: Id | None = None
    conversation_id: Id | None = None


class SendVisitorMessage(Struct, frozen=True):
    message: Json
    id: FilledText | None = None  # used as idempotency key if the request has none


class WidgetReference(Struct, frozen=True):
    channel_id: Id


class ConfigureChatPlugin(Struct, frozen=True):
    channel_id: Id
    config: dict[str, Any] | None = None  # replaces the whole configuration
    allowed_origins: list[Text] | None = None  # empty: every website


@action(
    "/chatplugin.authenticate",
    permission=Permission.OPEN,
    body=AuthenticateVisitor,
    returns=VisitStartSchema,
    any_origin=True,
)
async def authenticate(api: ApiContext, request: ActionRequest[AuthenticateVisitor]) -> Reply:
    """Begin a visit of a new conversation, or resume one with a token, which the answer replaces."""
    body, visitors = request.body, api.commands.visitors
    if body.resume_token is not None:
        started = await visitors.resume(body.resume_token, body.channel_id, request.origin, request.context)
    elif body.channel_id is not None:
        started = await visitors.begin(body.channel_id, request.origin)
    else:
        raise Refused("name the channel, or give a resume token", field="channel_id")
    document = {
        "token": started.token,
        "resume_token": started.resume_token,
        "messages": [visitor_message(message) for message in started.messages],
    }
    return Reply(document, position=started.position)


@action(
    "/chatplugin.resumeToken",
    permission=Permission.VISIT,
    body=ResumeTokenRequest,
    returns=ResumeTokenSchema,
    any_origin=True,
)
async def resume_token(api: ApiContext, request: ActionRequest[ResumeTokenRequest]) -> Reply:
    """The resume token of the caller's conversation; of any, for callers that are no visitors."""
    visit, visitors = visit_of(request.caller), api.commands.visitors
    if visit is not None:
        return Reply({"resume_token": await visitors.resume_token(visit, request.origin)})
    if request.body.channel_id is None or request.body.conversation_id is None:
        raise Refused("name channel_id and conversation_id", field="conversation_id")
    return Reply({"resume_token": await visitors.grant(request.body.channel_id, request.body.conversation_id)})


@action(
    "/chatplugin.send",
    permission=Permission.VISIT,
    body=SendVisitorMessage,
    returns=VisitorMessageSchema,
    any_origin=True,
)
async def send(api: ApiContext, request: ActionRequest[SendVisitorMessage]) -> Reply:
    """Write a message as a visitor. Idempotent by `id`, or by the header."""
    visit, context = _visit(request), request.context
    if context.key is None and request.body.id is not None:
        context = replace(context, key=request.body.id)
    written = await api.commands.visitors.send(visit, request.body.message.raw, context, request.origin)
    return Reply(visitor_message(written.value), position=written.position)


@action("/chatplugin.config", permission=Permission.OPEN, body=WidgetReference, returns=WidgetSchema, any_origin=True)
async def config(api: ApiContext, request: ActionRequest[WidgetReference]) -> Reply:
    """How the widget of a channel looks."""
    channel = await api.commands.visitors.channel(request.body.channel_id, request.origin)
    return Reply(
        {
            "name": metadata.text(channel.metadata, "name"),
            "image_url": metadata.text(channel.metadata, "image_url"),
            "config": widget.config_of(channel),
        }
    )


@action("/channels.chatplugin.configure", permission=Permission.MANAGE, body=ConfigureChatPlugin, returns=ChannelSchema)
async def configure(api: ApiContext, request: ActionRequest[ConfigureChatPlugin]) -> Reply:
    """Set how the widget of a channel looks, and which websites may embed it. What is not given stays."""
    body = request.body
    given: dict[str, Raw] = {}
    if body.config is not None:
        given[widget.CONFIG] = widget.widget_config(body.config)
    if body.allowed_origins is not None:
        given[widget.ALLOWED_ORIGINS] = widget.origins(body.allowed_origins)
    written = await api.commands.channels.configure(KIND, body.channel_id, given)
    return Reply(render_channel(written.value), position=written.position)


def _visit(request: ActionRequest[SendVisitorMessage]) -> Visit:
    """Raises `Problem` 403 for a caller that is no visitor."""
    visit = visit_of(request.caller)
    if visit is None:
        raise forbidden()
    return visit


RESOURCE = Resource(
    name="chatplugin",
    component="sources-chatplugin",
    actions=(authenticate, resume_token, send, config, configure),
    websockets=(ROUTE,),
)
