"""Ends the wait of messages whose conversation was not known when they were sent.

They are pending sends without a channel, so they are in the store's work table and survive every restart. Once the
conversation exists, the message is queued in it, and the connector sends it; when the wait is over, it fails. Every
process of the component does this, without dividing the work: facts have the ids of their causes, so the log keeps one.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Protocol

import anyio
import anyio.lowlevel

from airy import topics
from airy.actors.bug_report import BUGS, BugCounts
from airy.actors.fact_appender import FactAppender
from airy.actors.fold_progress import WorkProgress
from airy.actors.runtime import Context
from airy.bug_fields import bug_fields
from airy.bus.api import Bus
from airy.errors import Misconfigured, Unavailable
from airy.model import ids
from airy.model.conversation import Message
from airy.model.delivery_state import DeliveryState
from airy.model.fact import MessageQueued, SendFailed
from airy.store.api import ConversationReader, ConversationView, Work, WorkKey, WorkReader

LOOK_S = 1.0  # while a message waits
SETTLE_S = 0.05  # between two looks under load
BUG_RETRY_S = 60.0  # until a message is looked at again after a bug
PAGE_MAX = 2_000  # waiting messages read at once
FAILURES_MAX = 200  # appended at once: messages whose conversation begins do not wait for each of them
FAR_MS = 1 << 62
NO_CONVERSATION = "there is no such conversation, and none has begun while the message waited"
PARTITIONS = range(topics.EVENTS.partitions)


class WaitingStore(WorkReader, ConversationReader, Protocol):
    """What this actor reads."""


class DeferredSends:
    def __init__(
        self,
        bus: Bus,
        store: WaitingStore,
        progress: WorkProgress,
        *,
        message_ttl_s: float,
        bugs: BugCounts | None = None,
    ) -> None:
        self._store = store
        self._progress = progress
        self._appender = FactAppender(bus, progress)
        self._ttl_ms = round(message_ttl_s * 1000)
        self._touched = anyio.Event()
        self._bugs: BugCounts = Counter() if bugs is None else bugs
        self._postponed: dict[str, float] = {}  # message → when it is looked at again after a bug (monotonic)

    async def run(self, ctx: Context) -> None:
        with self._progress.watching_work(self._look_again):
            ctx.ready()
            while not ctx.draining.is_set():
                self._touched = anyio.Event()
                waiting = not self._progress.caught_up or await self._end_waits(ctx)
                ctx.progress()
                with ctx.waiting(), anyio.move_on_after(LOOK_S if waiting else None):
                    await self._until_touched(ctx)
                    await anyio.sleep(SETTLE_S)

    def _look_again(self, touched: Collection[WorkKey]) -> None:
        """Any send that ends may be the one before a message that waits."""
        if any(key.kind == "send" for key in touched):
            self._touched.set()

    async def _until_touched(self, ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:

            async def drained() -> None:
                await ctx.draining.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(drained)
            await self._touched.wait()
            tasks.cancel_scope.cancel()

    async def _end_waits(self, ctx: Context) -> bool:
        """Returns whether messages still wait."""
        now_s = anyio.current_time()
        self._postponed = {name: at_s for name, at_s in self._postponed.items() if at_s > now_s}
        last, waiting = None, False
        while page := await self._store.work(
            "send", "", partitions=PARTITIONS, due_until_ms=FAR_MS, work_max=PAGE_MAX, after=last
        ):
            waiting, last = True, page[-1]
            failures: list[SendFailed] = []
            for work in page:
                await anyio.lowlevel.checkpoint()  # a look reads up to two rows per message
                failed = await self._try_to_end_wait(ctx, work, work.message_id or "")
                failures += [failed] if failed else []
            await self._fail(ctx, failures)
            ctx.progress()
            if len(page) < PAGE_MAX:
                break
        return waiting

    async def _fail(self, ctx: Context, failures: Sequence[SendFailed]) -> None:
        with suppress(Unavailable):  # they are tried again
            for start in range(0, len(failures), FAILURES_MAX):
                await self._appender.append(ctx, *failures[start : start + FAILURES_MAX])
                ctx.progress()

    async def _try_to_end_wait(self, ctx: Context, work: Work, message_id: str) -> SendFailed | None:
        """Returns the failure of a message whose wait is over."""
        if message_id in self._postponed:
            return None
        try:
            return await self._end_wait(ctx, work, message_id)
        except Unavailable:  # it is tried again
            return None
        except Misconfigured:
            raise
        except BUGS as error:  # of this message; the others do not wait for it
            self._bugs["send"] += 1
            self._postponed[message_id] = anyio.current_time() + BUG_RETRY_S
            ctx.log.error("send.wait_failed_unexpectedly", message_id=message_id, **bug_fields(error))  # noqa: TRY400
            return None

    async def _end_wait(self, ctx: Context, work: Work, message_id: str) -> SendFailed | None:
        message = await self._store.message(message_id)
        if message is None:
            return None
        view = await self._store.conversation(work.conversation_id)
        fact = ending(message, view, ctx.clock.now_ms(), self._ttl_ms)
        if isinstance(fact, SendFailed):
            return fact
        if fact is not None:
            await self._appender.append(ctx, fact)
        return None


def ending(
    message: Message, view: ConversationView | None, now_ms: int, ttl_ms: int
) -> MessageQueued | SendFailed | None:
    """What ends the wait of a message, if something does. A conversation that exists is never too late."""
    if message.channel_id or message.delivery is not DeliveryState.PENDING:
        return None
    if view is not None:
        return MessageQueued(
            id=ids.derive(message.id, f":addressed:{message.attempt}"),
            conversation_id=message.conversation_id,
            channel_id=view.channel.id,
            source=view.channel.source,
            at_ms=now_ms,
            message_id=message.id,
            sender_id=message.sender_id,
            content=message.content,
            canonical=message.canonical,
            recipient_id=message.recipient_id,
            expires_at_ms=now_ms + ttl_ms,
        )
    if message.expires_at_ms is None or now_ms < message.expires_at_ms:
        return None
    return SendFailed(
        id=ids.derive(message.id, f":waited:{message.attempt}"),
        conversation_id=message.conversation_id,
        channel_id="",
        source="",
        at_ms=now_ms,
        message_id=message.id,
        attempt=message.attempt,
        error_kind="not_found",
        error=NO_CONVERSATION,
    )
