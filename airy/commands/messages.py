"""Sending: a message becomes a fact and, once folded, work for the connector. No provider is called here."""

import msgspec
from msgspec import Raw, Struct

from airy.bus.record import Position
from airy.commands.errors import Conflict, Forbidden, NotFound
from airy.commands.writer import RequestContext, Writer, Written
from airy.errors import Refused
from airy.model import ids
from airy.model.conversation import Message
from airy.model.delivery_state import API_STATE, DeliveryState
from airy.model.entity import Channel
from airy.model.fact import CancelRequested, MessageDeferred, MessageQueued, ResendRequested
from airy.model.identity import IdentityKey
from airy.model.raw import NULL, same_json
from airy.model.render import timestamp
from airy.sources import canonical
from airy.sources.catalogue import BY_KIND, kind_of
from airy.store.api import StoreQueries

WAIT_S = 30.0  # as in the original
_DELIVERED = "the message is delivered: the provider has taken it"
WHY_NOT_CANCELLED = {
    DeliveryState.PENDING: "the message is pending again: it was in another state when the log decided; try again",
    DeliveryState.SENDING: "the message is being sent: the provider is called right now, and its answer decides",
    DeliveryState.UNKNOWN: "the message may be delivered: the provider was called and its answer was lost",
    DeliveryState.SENT: _DELIVERED,
    DeliveryState.DELIVERED: _DELIVERED,
    DeliveryState.READ: _DELIVERED,
    DeliveryState.FAILED: "the message is failed: nothing waits to be sent",
}


class MessageTarget(Struct, frozen=True):
    """The destination of a message. `recipient_id` None: the contact of the conversation."""

    conversation_id: str
    channel: Channel
    recipient_id: str | None


class MessageCommands:
    """`wait_s`: how long a message waits for a conversation that is not known."""

    def __init__(
        self, writer: Writer, store: StoreQueries, *, message_ttl_s: float = 900.0, wait_s: float = WAIT_S
    ) -> None:
        self._writer = writer
        self._store = store
        self._ttl_ms = round(message_ttl_s * 1000)
        self._wait_ms = round(wait_s * 1000)

    async def send(
        self,
        content: Raw,
        context: RequestContext,
        *,
        conversation_id: str | None = None,
        channel_id: str | None = None,
        recipient_id: str | None = None,
    ) -> Written[Message]:
        """The message as folded. A repeated idempotency key returns the same message in its current state.

        A conversation that is not known is waited for: the message is in the log, without a channel, and is sent or
        fails later.

        Raises `Forbidden` for a disconnected channel, `Conflict` for a key used for other content, `Refused`.
        """
        in_common_terms = _canonical_content(content)
        target = await self._target(conversation_id, channel_id, recipient_id)
        if target is None:
            assert conversation_id is not None
            return await self._defer(content, in_common_terms, context, conversation_id, recipient_id)
        message_id = self._writer.id_for(context, target.conversation_id, "message")
        now_ms = self._writer.now_ms()
        position = await self._writer.append_fact(
            MessageQueued(
                id=ids.derive(message_id, ":queued"),
                conversation_id=target.conversation_id,
                channel_id=target.channel.id,
                source=target.channel.source,
                at_ms=now_ms,
                cause=context.request_id,
                message_id=message_id,
                sender_id=context.caller,
                content=content,
                canonical=in_common_terms,
                recipient_id=target.recipient_id,
                expires_at_ms=now_ms + self._ttl_ms,
            )
        )
        return await self._sent(message_id, content, position)

    async def _defer(
        self,
        content: Raw,
        in_common_terms: Raw,
        context: RequestContext,
        conversation_id: str,
        recipient_id: str | None,
    ) -> Written[Message]:
        message_id = self._writer.id_for(context, conversation_id, "message")
        now_ms = self._writer.now_ms()
        position = await self._writer.append_fact(
            MessageDeferred(
                id=ids.derive(message_id, ":deferred"),
                conversation_id=conversation_id,
                channel_id="",
                source="",
                at_ms=now_ms,
                cause=context.request_id,
                message_id=message_id,
                sender_id=context.caller,
                content=content,
                canonical=in_common_terms,
                recipient_id=recipient_id,
                waits_until_ms=now_ms + self._wait_ms,
                expires_at_ms=now_ms + self._ttl_ms,
            )
        )
        return await self._sent(message_id, content, position)

    async def _sent(self, message_id: str, content: Raw, position: Position) -> Written[Message]:
        message = await self._store.message(message_id)
        if message is None:
            raise Refused("the conversation has no contact yet: name the recipient", field="source_recipient_id")
        if not same_json(message.content, content):
            raise Conflict(
                "this idempotency key was used for another message of this conversation",
                field="idempotency_key",
            )
        return Written(message, position)

    async def _target(
        self, conversation_id: str | None, channel_id: str | None, recipient_id: str | None
    ) -> MessageTarget | None:
        """None: the conversation is not known, and nothing says where to begin one."""
        addressed = channel_id is not None and recipient_id is not None
        if conversation_id is not None:
            view = await self._store.conversation(conversation_id)
            if view is not None:
                return MessageTarget(conversation_id, _connected(view.channel), recipient_id)
            if not addressed:
                return None
        if channel_id is None or recipient_id is None:
            raise Refused("name conversation_id, or channel_id and source_recipient_id", field="conversation_id")
        channel = await self._store.channel(channel_id)
        if channel is None:
            raise Forbidden(f"there is no channel {channel_id}", field="channel_id")
        recipient = _recipient(_connected(channel), recipient_id)
        return await self._known(channel, recipient) or MessageTarget(
            _conversation_id(channel, recipient), channel, recipient
        )

    async def _known(self, channel: Channel, recipient: str) -> MessageTarget | None:
        """The conversation of a contact who is known by this name, and is answered to by the current one."""
        spec = BY_KIND.get(channel.source)
        if spec is None or not spec.identities:
            return None
        key = IdentityKey(channel.id, recipient)
        for name in (await self._store.conversations_of([key])).get(key, ()):
            if await self._store.conversation(name) is not None:
                return MessageTarget(name, channel, None)
        return None

    async def resend(self, message_id: str, context: RequestContext) -> Written[Message]:
        """Raises `NotFound`, and `Conflict` unless the message is in state failed at the fact's position in the log."""
        await self._check_conversation(message_id)
        expires_at_ms = self._writer.now_ms() + self._ttl_ms
        written, accepted = await self._request(
            ResendRequested, message_id, context, "resend", expires_at_ms=expires_at_ms
        )
        if not accepted:
            raise Conflict(_why_not_resent(written.value), field="message_id")
        return written

    async def _check_conversation(self, message_id: str) -> None:
        """Raises `Conflict` for a deferred message whose conversation has still not begun."""
        message = await self._store.message(message_id)
        if message is None or message.channel_id:
            return
        if await self._store.conversation(message.conversation_id) is None:
            raise Conflict("there is still no such conversation: the message cannot be sent", field="message_id")

    async def cancel(self, message_id: str, context: RequestContext) -> Written[Message]:
        """The message as failed, of kind `cancelled`.

        Raises `NotFound`, and `Conflict` unless the message is pending at the fact's position in the log: the fold
        decides between a cancellation and the claim of an attempt.
        """
        written, accepted = await self._request(CancelRequested, message_id, context, "cancel")
        if not accepted:
            raise Conflict(_why_not_cancelled(written.value), field="message_id")
        return written

    async def _request(
        self,
        kind: type[ResendRequested | CancelRequested],
        message_id: str,
        context: RequestContext,
        scope: str,
        **fields: int,
    ) -> tuple[Written[Message], bool]:
        """Append the request; the message as folded, and whether the fold accepted the request."""
        message = await self._store.message(message_id)
        if message is None or message.deleted:
            raise NotFound(f"there is no message {message_id}", field="message_id")
        fact_id = self._writer.id_for(context, message_id, scope)
        request = self._writer.fact(kind, message, context, fact_id=fact_id, message_id=message_id, **fields)
        position = await self._writer.append_fact(request)
        accepted = await self._store.accepted(message.conversation_id, request.id)
        return Written(await self._store.message(message_id) or message, position), accepted


def _why_not_resent(message: Message) -> str:
    only = "only a failed one can be sent again"
    if message.from_contact:
        return f"the message is the contact's: {only}"
    if message.delivery is DeliveryState.PENDING:
        due = f", its next attempt is due at {timestamp(message.retry_at_ms)}" if message.retry_at_ms else ""
        return f"the message is pending{due}: {only}; messages.cancel ends the waiting, then it can be"
    return f"the message is {API_STATE[message.delivery]}: {only}"


def _why_not_cancelled(message: Message) -> str:
    if message.from_contact:
        return "the message is the contact's: only one that waits to be sent can be cancelled"
    return WHY_NOT_CANCELLED[message.delivery]


def _canonical_content(content: Raw) -> Raw:
    """The canonical content of a message written in common terms, else null. Raises `Refused` if it is not valid."""
    if b'"canonical"' not in bytes(content):
        return NULL
    try:
        wanted = canonical.outbound(msgspec.json.decode(content))
    except Refused as error:
        raise Refused(str(error), field=f"message.{error.field}") from error
    return NULL if wanted is None else canonical.encode((wanted,))


def _recipient(channel: Channel, given: str) -> str:
    """The recipient as inbound messages name it. Raises `Refused` for one that the kind of channel cannot have."""
    try:
        return kind_of(channel.source).recipients.name_of(given)
    except ValueError as error:
        raise Refused(f"{channel.source}: {error}", field="source_recipient_id") from error


def _conversation_id(channel: Channel, recipient: str) -> str:
    """As of a conversation that the contact begins."""
    return ids.derive(channel.source if kind_of(channel.source).open else channel.id, recipient)


def _connected(channel: Channel) -> Channel:
    if not channel.connected:
        raise Forbidden(f"channel {channel.id} is disconnected: connect it again to send", field="channel_id")
    return channel
