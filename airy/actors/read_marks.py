"""Shows contacts that their messages were read, where the provider can: after `conversations.mark-read`.

The fold reports which conversations it saw being read; the connector that sends for a conversation makes the call,
within the limits of its sends. A mark is tried once and nothing is recorded: one that is lost, by a failure or because
the process ends, is made up for by the next, which covers every earlier message.
"""

from collections.abc import Awaitable, Callable, Iterable

import anyio

from airy import topics
from airy.actors.bug_report import BUGS, BugCounts
from airy.actors.message_sender import Credentials, OutboundKind
from airy.actors.runtime import Context
from airy.bug_fields import bug_fields
from airy.clock import monotonic_ms
from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.model.conversation import Message
from airy.sources.api import Target
from airy.sources.catalogue import kind_name
from airy.sources.signalling import signal
from airy.store.api import ConversationReader, ConversationView

WAITING_MAX = 1_000  # conversations; beyond it the oldest are dropped
WORKERS = 4
PATIENCE_S = 10.0  # a mark that gets no slot within it is dropped: sends come first
MESSAGES_MAX = 50  # the newest of a conversation, among which the contact's last one is looked for

OwnerOf = Callable[[str, int], Awaitable[OutboundKind | None]]
"""From kind of channel and partition: the kind, if this process sends for it."""


class ReadMarks:
    def __init__(
        self, store: ConversationReader, http: HttpClient, credentials: Credentials, owner_of: OwnerOf, bugs: BugCounts
    ) -> None:
        self._store = store
        self._http = http
        self._credentials = credentials
        self._owner_of = owner_of
        self._bugs = bugs
        self._waiting: dict[str, None] = {}
        self._added = anyio.Event()

    def add(self, conversation_ids: Iterable[str]) -> None:
        for conversation_id in conversation_ids:
            self._waiting.pop(conversation_id, None)
            self._waiting[conversation_id] = None
        while len(self._waiting) > WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        self._added.set()

    async def run(self, ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(WORKERS):
                tasks.start_soon(self._work, ctx)

    async def _work(self, ctx: Context) -> None:
        while True:
            while not self._waiting:
                self._added = anyio.Event()
                await self._added.wait()
            conversation_id = next(iter(self._waiting))
            del self._waiting[conversation_id]
            try:
                await self._mark(ctx, conversation_id)
            except (Unavailable, Refused) as error:
                ctx.log.info("signal.failed", signal="read", conversation_id=conversation_id, error=str(error))
            except BUGS as error:
                self._bugs["signal"] += 1
                fields = bug_fields(error)  # without its text, which may quote a secret
                ctx.log.error("signal.failed_unexpectedly", conversation_id=conversation_id, **fields)  # noqa: TRY400

    async def _mark(self, ctx: Context, conversation_id: str) -> None:
        view = await self._store.conversation(conversation_id)
        if view is None or not view.channel.connected:
            return
        outbound = await self._owner_of(kind_name(view.channel.source), topics.EVENTS.partition(conversation_id))
        message = await self._last_read(view) if outbound is not None else None
        if outbound is None or message is None or not await self._acquire(outbound, view.channel.id):
            return
        try:
            target = Target(
                channel=view.channel,
                conversation=view.conversation,
                credentials=self._credentials(view.channel),
            )
            provider_id = message.provider_id or ""
            await signal(
                self._http,
                outbound.source,
                target,
                lambda signals, to: signals.mark_read(to, provider_id),
                ctx.clock.now_ms(),
            )
        finally:
            outbound.limiter.release(view.channel.id)

    async def _last_read(self, view: ConversationView) -> Message | None:
        """The contact's newest message that was read."""
        conversation = view.conversation
        page = await self._store.messages(conversation.id, cursor=None, page_size=MESSAGES_MAX)
        return next(
            (
                each
                for each in page.items
                if each.from_contact and each.provider_id and each.sequence <= conversation.read_sequence
            ),
            None,
        )

    async def _acquire(self, outbound: OutboundKind, channel_id: str) -> bool:
        """A slot of the channel's sends."""
        with anyio.move_on_after(PATIENCE_S):
            while True:
                wait_ms = outbound.app_resumes_in_ms() or outbound.limiter.try_acquire(channel_id, monotonic_ms())
                if not wait_ms:
                    return True
                await anyio.sleep(wait_ms / 1000)
        return False
