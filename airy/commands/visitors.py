"""What visitors of a chat plugin do: begin or resume a visit, write, and receive what agents send.

A visit needs no record; a conversation begins with its first message. From then on each use of a resume token is a fact
that replaces the token, so the log decides between uses at once, and a second use of a replaced token shows that it was
copied: the tokens of the conversation end then.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
import structlog
from msgspec import Raw, Struct

from airy.bus.record import Position
from airy.commands.errors import Conflict, Forbidden, NotFound, TooManyRequests, Unauthenticated
from airy.commands.visitor_settings import VisitorSettings
from airy.commands.visitor_tokens import Visit, VisitorResumeToken, VisitorTokens
from airy.commands.writer import RequestContext, Writer, Written
from airy.errors import Refused, Unavailable
from airy.model import ids
from airy.model.conversation import Conversation, Message
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import MessageReceived, ReceiptReported, ResumeTokensRevoked, ResumeTokenUsed
from airy.model.raw import same_json
from airy.sources import canonical
from airy.sources.chatplugin import widget
from airy.sources.chatplugin.content import canonical_of
from airy.sources.chatplugin.message import UNDELIVERED
from airy.sources.chatplugin.spec import KIND
from airy.store.api import StoreQueries

PAGE_MESSAGES = 100
HISTORY_PAGES_MAX = 5
OVERLAP_MS = 30_000  # a replaced token still begins a visit: two tabs at once, an answer that was lost
USES_MAX = 3  # of a token that another request replaces at the same time

SHOWN = UNDELIVERED | {DeliveryState.DELIVERED, DeliveryState.READ}

log = structlog.get_logger("airy.chatplugin")


class VisitStart(Struct, frozen=True):
    """`messages` are what the visitor may see of the conversation, oldest first. `position`: None if nothing was
    written.
    """

    token: str
    resume_token: str
    messages: Sequence[Message]
    position: Position | None = None


class VisitorCommands:
    """`origin` is that of the page; None: it is allowed everywhere."""

    def __init__(
        self,
        writer: Writer,
        store: StoreQueries,
        tokens: VisitorTokens,
        settings: VisitorSettings | None = None,
    ) -> None:
        self._writer = writer
        self._store = store
        self.tokens = tokens
        self.settings = settings or VisitorSettings()

    async def begin(self, channel_id: str, origin: str | None) -> VisitStart:
        """A visit of a new conversation. Raises `NotFound`, `Forbidden`, `TooManyRequests`."""
        channel = await self.channel(channel_id, origin)
        self._limit_visits(channel)
        return self._start(
            VisitorResumeToken(conversation_id=self._writer.new_id(), channel_id=channel.id, family=0, generation=0)
        )

    async def resume(
        self, token: str, channel_id: str | None, origin: str | None, context: RequestContext
    ) -> VisitStart:
        """Another visit. Raises `Unauthenticated` for a token that does not count, and as `begin`."""
        given = self.tokens.read_resume(token)
        if given is None or channel_id not in {None, given.channel_id}:
            raise Unauthenticated("the resume token is not valid", field="resume_token")
        channel = await self.channel(given.channel_id, origin)
        self._limit_visits(channel)
        if not await self.settings.current(given.conversation_id):  # another process may have replaced or revoked it
            raise Unavailable("this replica is behind the log: retry, or ask another replica", retry_after_s=1.0)
        conversation = await self._conversation(given.conversation_id, given.channel_id)
        if conversation is None:
            return self._start(given)
        replacement, position = await self._use(given, conversation, context)
        messages = await self._history(conversation.id)
        visit = _visit(replacement)
        await self.deliver(visit, [each.id for each in messages if each.delivery in UNDELIVERED], context.request_id)
        return self._start(replacement, messages, position)

    async def resume_token(self, visit: Visit, origin: str | None) -> str:
        """For the conversation of a visit. Raises as `begin`."""
        await self.admit(visit, origin)
        return await self._current_token(visit.conversation_id, visit.channel_id)

    async def grant(self, channel_id: str, conversation_id: str) -> str:
        """A resume token for any conversation of a channel, at the request of an operator. Raises `NotFound`."""
        await self.channel(channel_id, None)
        try:
            return await self._current_token(conversation_id, channel_id)
        except Unauthenticated as error:
            raise NotFound(str(error), field="conversation_id") from error

    async def send(self, visit: Visit, content: Raw, context: RequestContext, origin: str | None) -> Written[Message]:
        """The message as folded. A repeated idempotency key returns the same message.

        Raises `Conflict` for a key used for other content, and as `begin`.
        """
        await self.admit(visit, origin)
        if len(content) > self.settings.message_bytes_max:
            raise Refused(f"must have at most {self.settings.message_bytes_max} bytes of JSON", field="message")
        message_id = self._writer.id_for(context, visit.conversation_id, "visitor message")
        position = await self._writer.append_fact(
            MessageReceived(
                id=message_id,
                message_id=message_id,
                conversation_id=visit.conversation_id,
                channel_id=visit.channel_id,
                source=KIND,
                at_ms=self._writer.now_ms(),
                cause=context.request_id,
                participant_id=visit.conversation_id,
                content=content,
                canonical=canonical.encode(canonical_of(msgspec.json.decode(content))),
            )
        )
        message = await self._store.message(message_id)
        if message is None or not message.from_contact or message.conversation_id != visit.conversation_id:
            raise Conflict("the message was not accepted into the conversation")
        if not same_json(message.content, content):
            raise Conflict("this idempotency key was used for another message", field="idempotency_key")
        return Written(message, position)

    async def deliver(self, visit: Visit, message_ids: Sequence[str], request_id: str = "") -> None:
        """Report that these were handed to the visitor. Without effect while the log is unavailable: they are handed
        over again at the next visit.
        """
        if not message_ids:
            return
        now_ms = self._writer.now_ms()
        receipts = [
            ReceiptReported(
                id=ids.derive(message_id, ":delivered"),
                conversation_id=visit.conversation_id,
                channel_id=visit.channel_id,
                source=KIND,
                at_ms=now_ms,
                cause=request_id,
                state=DeliveryState.DELIVERED,
                provider_ids=(message_id,),
            )
            for message_id in message_ids
        ]
        try:
            await self._writer.append_facts(receipts)
        except Unavailable as error:
            log.info("chatplugin.receipt_delayed", conversation_id=visit.conversation_id, error=str(error))

    async def undelivered(self, conversation_id: str) -> list[Message]:
        """The last sent messages that no browser was handed yet, oldest first."""
        messages = await self._history(conversation_id, pages_max=1)
        return [each for each in messages if each.delivery in UNDELIVERED]

    async def check_family(self, visit: Visit) -> None:
        """Raises `Unauthenticated` for a visit that has ended, or of a conversation of another channel."""
        conversation = await self._conversation(visit.conversation_id, visit.channel_id)
        if conversation is not None and conversation.resume_family != visit.family:
            raise Unauthenticated("the visit has ended")

    async def admit(self, visit: Visit, origin: str | None) -> None:
        """One request of a visitor. Raises as `begin`."""
        await self.channel(visit.channel_id, origin)
        self.limit_requests(visit)

    async def channel(self, channel_id: str, origin: str | None) -> Channel:
        """A connected channel. Raises `NotFound`, and `Forbidden` for a website that may not embed it."""
        channel = await self._store.channel(channel_id)
        if channel is None or channel.source != KIND or not channel.connected:
            raise NotFound(f"there is no connected chat plugin {channel_id}", field="channel_id")
        if not widget.allows(channel, origin):
            raise Forbidden("this website is not among the allowed origins of the chat plugin")
        return channel

    # --- tokens

    def _start(
        self, resume: VisitorResumeToken, messages: Sequence[Message] = (), position: Position | None = None
    ) -> VisitStart:
        return VisitStart(self.tokens.visit(_visit(resume)), self.tokens.resume(resume), messages, position)

    async def _current_token(self, conversation_id: str, channel_id: str) -> str:
        conversation = await self._conversation(conversation_id, channel_id)
        family, generation = (
            (0, 0) if conversation is None else (conversation.resume_family, conversation.resume_generation)
        )
        return self.tokens.resume(
            VisitorResumeToken(
                conversation_id=conversation_id, channel_id=channel_id, family=family, generation=generation
            )
        )

    async def _use(
        self, given: VisitorResumeToken, conversation: Conversation, context: RequestContext
    ) -> tuple[VisitorResumeToken, Position | None]:
        """The token that replaces a used one. Raises `Unauthenticated`."""
        if not self.settings.rotating and given.family == conversation.resume_family:
            return given, None
        replacement = msgspec.structs.replace(given, generation=given.generation + 1)
        position: Position | None = None
        for _ in range(USES_MAX):
            match judge(given, conversation, self._writer.now_ms()):
                case "replaced":
                    return replacement, position
                case "ended":
                    break
                case "reused":
                    await self._revoke(given, conversation, context)
                    break
                case "current":
                    fact_id = ids.derive(conversation.id, f":resume:{given.family}:{given.generation}")
                    fact = self._writer.fact(
                        ResumeTokenUsed,
                        conversation,
                        context,
                        fact_id=fact_id,
                        family=given.family,
                        generation=given.generation,
                    )
                    position = await self._writer.append_fact(fact)
                    conversation = await self._conversation(conversation.id, given.channel_id) or conversation
        raise Unauthenticated("the resume token is not valid any more", field="resume_token")

    async def _revoke(self, given: VisitorResumeToken, conversation: Conversation, context: RequestContext) -> None:
        log.warning("chatplugin.resume_token_reused", conversation_id=conversation.id, channel_id=given.channel_id)
        fact_id = ids.derive(conversation.id, f":resume:{given.family}:revoked")
        fact = self._writer.fact(ResumeTokensRevoked, conversation, context, fact_id=fact_id, family=given.family)
        await self._writer.append_fact(fact)

    # --- reads

    async def _conversation(self, conversation_id: str, channel_id: str) -> Conversation | None:
        """None before the first message. A token opens a conversation of its own channel only."""
        view = await self._store.conversation(conversation_id)
        if view is None:
            return None
        if view.conversation.channel_id != channel_id:
            raise Unauthenticated("the conversation is of another channel")
        return view.conversation

    async def _history(self, conversation_id: str, *, pages_max: int = HISTORY_PAGES_MAX) -> list[Message]:
        """What a visitor may see, oldest first: the last messages, without those that are not sent."""
        found: list[Message] = []
        cursor: str | None = None
        for _ in range(pages_max):
            page = await self._store.messages(conversation_id, cursor=cursor, page_size=PAGE_MESSAGES)
            found += [message for message in page.items if message.from_contact or message.delivery in SHOWN]
            cursor = page.next_cursor
            if cursor is None:
                break
        return found[::-1]

    # --- limits

    def limit_requests(self, visit: Visit) -> None:
        """Raises `TooManyRequests`."""
        wait_s = self.settings.requests.take(visit.conversation_id)
        if wait_s:
            raise TooManyRequests("too many requests of this visitor", retry_after_s=wait_s)

    def _limit_visits(self, channel: Channel) -> None:
        wait_s = self.settings.visits.take(channel.id)
        if wait_s:
            raise TooManyRequests("too many visits of this chat plugin begin at once", retry_after_s=wait_s)


def _visit(token: VisitorResumeToken) -> Visit:
    return Visit(conversation_id=token.conversation_id, channel_id=token.channel_id, family=token.family)


def judge(
    given: VisitorResumeToken, conversation: Conversation, now_ms: int
) -> Literal["current", "replaced", "reused", "ended"]:
    """What a resume token is worth. `replaced`: by a use that is so recent that this may be the same one."""
    if given.family != conversation.resume_family:
        return "ended"
    if given.generation == conversation.resume_generation:
        return "current"
    is_last = given.generation == conversation.resume_generation - 1
    return "replaced" if is_last and abs(now_ms - conversation.resumed_at_ms) <= OVERLAP_MS else "reused"
