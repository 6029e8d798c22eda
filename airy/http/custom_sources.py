"""`/sources.*`: custom sources, and what they do with their own token: channels, and bringing in conversations."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from airy.commands import NotFound, SourceChanges
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Caller, Permission
from airy.http.body_kinds import EmptyBody
from airy.http.ports import ApiContext
from airy.http.request_bodies import Id, Json, Line, LongText, Text, Time
from airy.http.resource import Resource
from airy.http.response_schemas import ChannelSchema, CustomSourceSchema, IngestedSchema, ListSchema
from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.render import render_channel, render_custom_source
from airy.sources.custom.batch import (
    ITEMS_MAX,
    Batch,
    IngestedDeletion,
    IngestedMessage,
    IngestedMetadata,
    IngestedReaction,
    IngestedReceipt,
)

STATES = {
    "sent": DeliveryState.SENT,
    "delivered": DeliveryState.DELIVERED,
    "read": DeliveryState.READ,
    "failed": DeliveryState.FAILED,
}


class CreateSource(Struct, frozen=True):
    source_id: Line
    action_endpoint: LongText | None = None
    name: Text | None = None
    image_url: LongText | None = None


class UpdateSource(Struct, frozen=True):
    """What is not given stays; empty text removes it."""

    source_id: Line
    action_endpoint: LongText | None = None
    name: Text | None = None
    image_url: LongText | None = None


class SourceReference(Struct, frozen=True):
    source_id: Line


class CreateSourceChannel(Struct, frozen=True):
    source_channel_id: Line
    name: Line
    metadata: dict[str, Any] = {}


class SourceChannelReference(Struct, frozen=True):
    channel_id: Id


class SourceMessage(Struct, frozen=True):
    source_message_id: Line
    source_conversation_id: Line
    source_channel_id: Line
    source_sender_id: Line
    content: Json
    sent_at: Time
    from_contact: bool = False


class SourceMetadata(Struct, frozen=True):
    namespace: Literal["conversation", "message"]
    source_id: Line
    metadata: dict[str, Any]


class SourceReceipt(Struct, frozen=True):
    source_conversation_id: Line
    state: Literal["sent", "delivered", "read", "failed"]
    source_message_id: Line | None = None
    message_id: Id | None = None
    error: Text | None = None
    sent_at: Time | None = None


class SourceReaction(Struct, frozen=True):
    source_conversation_id: Line
    source_message_id: Line
    source_sender_id: Line
    sent_at: Time
    emoji: Line | None = None  # none: removed


class SourceDeletion(Struct, frozen=True):
    source_conversation_id: Line
    source_message_id: Line


Items = Meta(max_length=ITEMS_MAX)


class SourceBatch(Struct, frozen=True):
    messages: Annotated[list[SourceMessage], Items] = []
    metadata: Annotated[list[SourceMetadata], Items] = []
    receipts: Annotated[list[SourceReceipt], Items] = []
    reactions: Annotated[list[SourceReaction], Items] = []
    deletions: Annotated[list[SourceDeletion], Items] = []


# --- management


@action("/sources.create", permission=Permission.MANAGE, body=CreateSource, returns=CustomSourceSchema)
async def create(api: ApiContext, request: ActionRequest[CreateSource]) -> Reply:
    """Create a custom source. The answer alone has its token, which the source calls the other routes with."""
    done = await api.commands.custom_sources.create(request.body.source_id, _changes(request.body), request.context)
    return Reply(render_custom_source(done.value.source, done.value.token.reveal()), position=done.position)


@action("/sources.list", permission=Permission.MANAGE, body=EmptyBody, returns=ListSchema[CustomSourceSchema])
async def list_(api: ApiContext, _request: ActionRequest[EmptyBody]) -> Reply:
    """All custom sources, without their tokens."""
    return Reply({"data": [render_custom_source(source) for source in await api.store.custom_sources()]})


@action("/sources.info", permission=Permission.MANAGE, body=SourceReference, returns=CustomSourceSchema)
async def info(api: ApiContext, request: ActionRequest[SourceReference]) -> Reply:
    """One custom source, without its token."""
    return Reply(render_custom_source(await api.commands.custom_sources.known(request.body.source_id)))


@action("/sources.update", permission=Permission.MANAGE, body=UpdateSource, returns=CustomSourceSchema)
async def update(api: ApiContext, request: ActionRequest[UpdateSource]) -> Reply:
    """Change name, picture or action endpoint. What is not given stays, and empty text removes it."""
    done = await api.commands.custom_sources.update(request.body.source_id, _changes(request.body))
    return Reply(render_custom_source(done.value), position=done.position)


@action(
    "/sources.rotate-token",
    "/sources.rotateToken",
    permission=Permission.MANAGE,
    body=SourceReference,
    returns=CustomSourceSchema,
)
async def rotate_token(api: ApiContext, request: ActionRequest[SourceReference]) -> Reply:
    """Give a source another token. The previous one counts until the next rotation."""
    done = await api.commands.custom_sources.rotate_token(request.body.source_id)
    return Reply(render_custom_source(done.value.source, done.value.token.reveal()), position=done.position)


@action("/sources.delete", permission=Permission.MANAGE, body=SourceReference, status=202)
async def delete(api: ApiContext, request: ActionRequest[SourceReference]) -> Reply:
    """Delete a custom source and disconnect its channels. Conversations stay. Idempotent."""
    return Reply(position=await api.commands.custom_sources.delete(request.body.source_id))


# --- with the token of a source


@action(
    "/sources.channels.create",
    permission=Permission.INGEST,
    body=CreateSourceChannel,
    returns=ChannelSchema,
    status=201,
)
async def create_channel(api: ApiContext, request: ActionRequest[CreateSourceChannel]) -> Reply:
    """Create a channel of the calling source, or connect it again."""
    body = request.body
    done = await api.commands.ingest.create_channel(
        _source_of(request.caller), body.source_channel_id, body.name, body.metadata
    )
    return Reply(render_channel(done.value), position=done.position)


@action("/sources.channels.list", permission=Permission.INGEST, body=EmptyBody, returns=ListSchema[ChannelSchema])
async def list_channels(api: ApiContext, request: ActionRequest[EmptyBody]) -> Reply:
    """The connected channels of the calling source."""
    found = await api.commands.ingest.channels(_source_of(request.caller))
    return Reply({"data": [render_channel(channel) for channel in found]})


@action("/sources.channels.disconnect", permission=Permission.INGEST, body=SourceChannelReference, status=204)
async def disconnect_channel(api: ApiContext, request: ActionRequest[SourceChannelReference]) -> Reply:
    """Disconnect a channel of the calling source. Idempotent."""
    source_id, channel_id = _source_of(request.caller), request.body.channel_id
    return Reply(position=await api.commands.ingest.disconnect(source_id, channel_id))


@action("/sources.webhook", permission=Permission.INGEST, body=SourceBatch, returns=IngestedSchema)
async def webhook(api: ApiContext, request: ActionRequest[SourceBatch]) -> Reply:
    """Bring in messages, metadata, receipts, reactions and deletions, all or none. Repeating a request is harmless."""
    source_id = _source_of(request.caller)
    positions = await api.commands.ingest.ingest(source_id, _batch(request.body), request.context)
    messages = [
        {
            "source_message_id": each.source_message_id,
            "message_id": ids.derive(source_id, each.source_message_id),
            "conversation_id": ids.derive(source_id, each.source_conversation_id),
        }
        for each in request.body.messages
    ]
    return Reply({"messages": messages}, more_positions=positions)


def _source_of(caller: Caller) -> str:
    source_id = caller.claims.get("source")
    if source_id is None:
        raise NotFound("the token names no source")
    return source_id


def _changes(body: CreateSource | UpdateSource) -> SourceChanges:
    return SourceChanges(name=body.name, image_url=body.image_url, action_endpoint=body.action_endpoint)


def _batch(body: SourceBatch) -> Batch:
    return Batch(
        messages=[
            IngestedMessage(
                source_message_id=each.source_message_id,
                source_conversation_id=each.source_conversation_id,
                source_channel_id=each.source_channel_id,
                source_sender_id=each.source_sender_id,
                content=each.content.raw,
                from_contact=each.from_contact,
                sent_at_ms=each.sent_at,
            )
            for each in body.messages
        ],
        metadata=[
            IngestedMetadata(namespace=each.namespace, source_id=each.source_id, metadata=each.metadata)
            for each in body.metadata
        ],
        receipts=[
            IngestedReceipt(
                source_conversation_id=each.source_conversation_id,
                source_message_id=each.source_message_id,
                message_id=each.message_id,
                state=STATES[each.state],
                error=each.error,
                at_ms=each.sent_at,
            )
            for each in body.receipts
        ],
        reactions=[
            IngestedReaction(
                source_conversation_id=each.source_conversation_id,
                source_message_id=each.source_message_id,
                source_sender_id=each.source_sender_id,
                emoji=each.emoji,
                at_ms=each.sent_at,
            )
            for each in body.reactions
        ],
        deletions=[
            IngestedDeletion(
                source_conversation_id=each.source_conversation_id, source_message_id=each.source_message_id
            )
            for each in body.deletions
        ],
    )


RESOURCE = Resource(
    name="sources",
    component="sources-custom",
    actions=(
        create,
        list_,
        info,
        update,
        rotate_token,
        delete,
        create_channel,
        list_channels,
        disconnect_channel,
        webhook,
    ),
)
