"""The outbound connector of one source: pending messages become provider calls, and their outcomes become facts.

G7 rests on the log, not on this actor: the intent of an attempt is a fact, and only the worker whose intent the
fold accepted calls the provider. So rivals, zombies and restarts cannot call twice. What has to be sent is derived
state (the store's work table), so there is no position to lose; group membership only decides who acts on which
conversations.
"""

from collections.abc import Callable, Iterable, Mapping

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from structlog.contextvars import bound_contextvars

from airy import topics, trace
from airy.actors import sending
from airy.actors.follower import Follower
from airy.actors.footing import Footing
from airy.actors.lanes import Lanes
from airy.actors.runtime import Context
from airy.bus.api import Bus, Subscription
from airy.bus.record import TopicPartition
from airy.errors import Refused, Unavailable
from airy.fetch import Blocked, Fetch, NotSent, Unanswered
from airy.model import ids
from airy.model.conversation import Message
from airy.model.delivery import Delivery
from airy.model.entity import Channel
from airy.model.fact import Fact, ProfileResolved
from airy.sources.api import Failed, Lost, Outcome, Sent, Source
from airy.store.api import Store, Work, WorkKind

Unseal = Callable[[Channel], str]

CALL_S = 15.0  # one provider call
CLAIM_MS = 10_000  # a claim older than this is not acted on: whoever owns the conversation now may have given it up
ORPHAN_MS = 30_000  # an attempt of somebody else we have seen open for so long: longer than any claim and call
FOLD_S = 25.0  # our own store is this far behind: something is wrong, start over
PAUSE_MS = 60_000  # a channel whose credentials were refused is tried again after this
WORK_MAX = 2_000  # conversations looked at in one round
CROWD = 4  # times as many of one channel as may be under way: it hides no other channel
REVOKE_S = 20.0
IDLE_S = 1.0
KINDS: tuple[WorkKind, ...] = ("send", "profile")
NOT_OPEN = (0, 0)


class Connector:
    def __init__(
        self,
        bus: Bus,
        store: Store,
        follower: Follower,
        source: Source,
        fetch: Fetch,
        unseal: Unseal,
        *,
        workers_max: int = 32,
    ) -> None:
        self._bus = bus
        self._store = store
        self._follower = follower
        self._source = source
        self._fetch = fetch
        self._unseal = unseal
        self._workers_max = workers_max
        self._lanes = Lanes(rate_per_s=source.send_rate_per_s, parallel_max=source.send_parallel_max)
        self._footing = Footing(bus, follower, topics.EVENTS)
        self._busy: dict[str, int] = {}  # conversation → its partition
        self._open: dict[str, tuple[int, int]] = {}  # message → an attempt of somebody else, and when it is given up
        self._poke = anyio.Event()  # something may be due
        self._freed = anyio.Event()  # a conversation is no longer under way
        self._worker = ""
        self.sent = 0
        self.calls = 0

    async def run(self, ctx: Context) -> None:
        self._worker = ctx.ids.new()
        send, receive = anyio.create_memory_object_stream[Work](self._workers_max)
        group = f"sources.{self._source.name}.connector"
        async with (
            self._bus.subscribe([topics.EVENTS], group=group, ownership=self) as membership,
            receive,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(self._workers_max):
                tasks.start_soon(self._work, ctx, receive)
            tasks.start_soon(self._keep_membership, ctx, membership)
            tasks.start_soon(self._watch, ctx)
            ctx.ready()
            async with send:
                await self._dispatch_until_drained(ctx, send)
            await self._idle(self._busy.keys())
            tasks.cancel_scope.cancel()

    # --- membership

    async def assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        self._footing.assigned(partitions)
        self._lanes.share = self._footing.share
        self._poke.set()

    async def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        going = {where.partition for where in partitions}
        self._footing.revoked(partitions)
        self._lanes.share = self._footing.share
        await self._idle([name for name, partition in self._busy.items() if partition in going])

    async def _idle(self, conversations: Iterable[str]) -> None:
        """Wait until none of these is under way, at most `REVOKE_S`: a call that takes longer ends as it must."""
        waiting = set(conversations)
        with anyio.move_on_after(REVOKE_S):
            while waiting & self._busy.keys():
                await self._freed.wait()

    async def _keep_membership(self, ctx: Context, membership: Subscription) -> None:
        while True:
            await membership.fetch(records_max=0, wait_s=IDLE_S)
            ctx.progress()

    async def _watch(self, ctx: Context) -> None:
        version = self._follower.version
        while True:
            version = await self._follower.progressed(version, IDLE_S)
            self._poke.set()
            if ctx.draining.is_set():
                return

    # --- deciding what is next

    async def _dispatch_until_drained(self, ctx: Context, send: ObjectSendStream[Work]) -> None:
        while not ctx.draining.is_set():
            self._poke = anyio.Event()
            wait_s = await self._dispatch(ctx, send)
            ctx.progress()
            with anyio.move_on_after(wait_s):
                await self._poke.wait()

    async def _dispatch(self, ctx: Context, send: ObjectSendStream[Work]) -> float:
        """Hand out what is due to idle workers; returns how long nothing more can be due."""
        partitions = await self._footing.firm() if self._follower.caught_up else []
        if not partitions:
            return IDLE_S
        now_ms = ctx.clock.now_ms()
        wait_ms = round(IDLE_S * 1000)
        for kind in KINDS:
            if kind == "profile" and len(self._busy) >= self._workers_max // 2:
                break  # names can wait, answers cannot
            for work in await self._store.work(
                kind,
                self._source.name,
                partitions=partitions,
                due_until_ms=now_ms,
                work_max=WORK_MAX,
                channel_max=CROWD * self._source.send_parallel_max,
                not_channels=self._lanes.paused(now_ms),
            ):
                if len(self._busy) >= self._workers_max:
                    return IDLE_S  # a worker that gets free pokes
                if work.conversation_id in self._busy or self._open.get(work.message_id or "", NOT_OPEN)[1] > now_ms:
                    continue
                if work.state == Delivery.PENDING and (held_ms := self._lanes.enter(work.channel_id, now_ms)):
                    wait_ms = min(wait_ms, held_ms)
                    continue
                self._busy[work.conversation_id] = work.partition
                await send.send(work)
        return wait_ms / 1000

    # --- doing it

    async def _work(self, ctx: Context, receive: ObjectReceiveStream[Work]) -> None:
        async for work in receive:
            try:
                with (
                    trace.under(work.trace),
                    bound_contextvars(conversation_id=work.conversation_id, message_id=work.message_id),
                ):
                    await self._do(ctx, work)
            finally:
                if work.state == Delivery.PENDING:
                    self._lanes.leave(work.channel_id)
                self._busy.pop(work.conversation_id, None)
                self._freed.set()
                self._freed = anyio.Event()
                self._poke.set()

    async def _do(self, ctx: Context, work: Work) -> None:
        if work.kind == "profile":
            await self._resolve_profile(ctx, work)
        elif work.state == Delivery.PENDING:
            await self._send(ctx, work)
        else:
            await self._settle(ctx, work)

    async def _pause(self, ctx: Context) -> None:
        """Before work that led nowhere is looked at again: the table it came from must not make us spin."""
        with ctx.waiting():
            await anyio.sleep(IDLE_S)

    async def _settle(self, ctx: Context, work: Work) -> None:
        """An attempt without an outcome whose worker is gone: nobody knows, so say so."""
        message = await self._store.message(work.message_id or "")
        if message is None or message.delivery is not Delivery.SENDING:
            await self._pause(ctx)
            return
        if message.worker != self._worker and not self._given_up(message, ctx.clock.now_ms()):
            return
        if not await self._follower.current([topics.EVENTS], FOLD_S):
            await self._pause(ctx)  # its outcome may be in the log already
            return
        after = await self._store.message(message.id)
        if after is not None and (after.delivery, after.attempt) == (Delivery.SENDING, message.attempt):
            await self._record(ctx, after, Lost("whoever called the provider stopped before its answer was recorded"))

    def _given_up(self, message: Message, now_ms: int) -> bool:
        """Whether we have seen this attempt of somebody else open for long enough, by no clock but our own."""
        self._open = {name: seen for name, seen in self._open.items() if seen[1] + ORPHAN_MS > now_ms}
        attempt, until_ms = self._open.get(message.id, NOT_OPEN)
        if attempt != message.attempt:
            self._open[message.id] = message.attempt, now_ms + ORPHAN_MS
            return False
        return now_ms >= until_ms

    async def _send(self, ctx: Context, work: Work) -> None:
        message = await self._store.message(work.message_id or "")
        if message is None or message.delivery is not Delivery.PENDING or message.retry_at_ms > ctx.clock.now_ms():
            await self._pause(ctx)
            return
        channel = await self._store.channel(message.channel_id)
        if _no_channel(channel):
            # Topics have no order between them: the message may be folded, and not yet what made its channel usable.
            if not await self._follower.current([topics.CHANNELS], FOLD_S):
                await self._pause(ctx)
                return
            channel = await self._store.channel(message.channel_id)
        await self._attempt(ctx, message, channel)

    async def _attempt(self, ctx: Context, message: Message, channel: Channel | None) -> None:
        now_ms = ctx.clock.now_ms()
        refusal = sending.expired(message, now_ms) or _no_channel(channel)
        if refusal is not None or channel is None:
            await self._record(ctx, message, refusal or Failed(kind="invalid", error="its channel is unknown"))
            return
        view = await self._store.conversation(message.conversation_id)
        try:
            token = self._unseal(channel)
        except Refused as error:
            await self._record(ctx, message, Failed(kind="auth", error=f"the channel's token cannot be read: {error}"))
            return
        call = self._source.encode(message, view.conversation if view else None, token, now_ms)
        if isinstance(call, Failed):
            await self._record(ctx, message, call)
            return
        started = await self._claim(ctx, message)
        if started is None:  # a rival was first; what it does shows in the store soon
            await self._pause(ctx)
            return
        if ctx.clock.now_ms() - now_ms > CLAIM_MS:  # this process was away, or its store is slow
            await self._record(ctx, started, Failed(kind="provider", error="claimed too long ago to call", again_s=0.0))
            return
        self.calls += 1
        try:
            answer = await self._fetch(call.method, call.url, headers=call.headers, body=call.body, total_s=CALL_S)
            outcome = self._source.interpret(answer, ctx.clock.now_ms())
        except NotSent as error:
            outcome = Failed(kind="provider", error=str(error), again_s=0.0)
        except Unanswered as error:
            outcome = Lost(str(error))
        except Blocked as error:
            outcome = Failed(kind="invalid", error=str(error))
        if isinstance(outcome, Failed) and outcome.stop_lane:
            self._lanes.pause(message.channel_id, ctx.clock.now_ms() + PAUSE_MS)
            ctx.log.error("channel.credentials_refused", channel_id=message.channel_id, error=outcome.error)
        await self._record(ctx, started, outcome)

    async def _claim(self, ctx: Context, message: Message) -> Message | None:
        """Record the intent; the message as folded if the log says the attempt is ours, else None."""
        fact = sending.started(message, self._worker, ctx.clock.now_ms())
        await self._publish(ctx, fact)
        folded = await self._store.message(message.id)
        if folded is None or folded.delivery is not Delivery.SENDING:
            return None
        return folded if folded.worker == self._worker and folded.attempt == fact.attempt else None

    async def _record(self, ctx: Context, message: Message, outcome: Outcome) -> None:
        fact = sending.ended(message, outcome, ctx.clock.now_ms(), ctx.random)
        await self._publish(ctx, fact, insist=True)
        self.sent += fact.__class__.__name__ == "SendSucceeded"
        if isinstance(outcome, Sent):
            ctx.log.debug("send.ended", message_id=message.id, attempt=message.attempt, outcome="Sent")
        else:
            error = outcome.error if isinstance(outcome, Failed) else outcome.reason
            name = type(outcome).__name__
            ctx.log.info("send.ended", message_id=message.id, attempt=message.attempt, outcome=name, error=error)

    async def _publish(self, ctx: Context, fact: Fact, *, insist: bool = False) -> None:
        """Append and wait until our own store has folded it. With `insist`, an unavailable log is waited for."""
        emit = topics.EVENTS.emit(fact.conversation_id, fact, headers=(("id", fact.id.encode()), *trace.headers()))
        while True:
            try:
                (position,) = await self._bus.publish([emit])
                break
            except Unavailable:
                if not insist:
                    raise
                with ctx.waiting():
                    await anyio.sleep(IDLE_S)
        if not await self._follower.reached(position, FOLD_S):
            message = f"the store did not fold {position} within {FOLD_S:g} s; starting over"
            raise Unavailable(message)

    # --- profiles

    async def _resolve_profile(self, ctx: Context, work: Work) -> None:
        view = await self._store.conversation(work.conversation_id)
        if view is None or view.conversation.participant_id is None or not view.channel.connected:
            await self._pause(ctx)
            return
        conversation = view.conversation
        try:
            profile = await self._source.profile(
                self._fetch, conversation.participant_id or "", self._unseal(view.channel)
            )
        except (Unavailable, Refused) as error:
            ctx.log.info("profile.unavailable", conversation_id=conversation.id, error=str(error))
            await self._pause(ctx)
            return
        await self._publish(
            ctx,
            ProfileResolved(
                id=ids.derive(conversation.id, f":profile:{conversation.sequence}"),
                conversation_id=conversation.id,
                channel_id=conversation.channel_id,
                source=conversation.source,
                at_ms=ctx.clock.now_ms(),
                found=profile.found,
                display_name=profile.display_name,
                avatar_url=profile.avatar_url,
            ),
        )


def _no_channel(channel: Channel | None) -> Failed | None:
    if channel is None:
        return Failed(kind="invalid", error="its channel is unknown")
    if not channel.connected:
        return Failed(kind="invalid", error="its channel is disconnected: connect it, then resend")
    return None
