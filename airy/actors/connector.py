"""The outbound connector of one source: sends pending messages to the provider and records the outcomes as facts.

G7 rests on the log, not on this actor: before a call the worker appends a `SendStarted` fact (the claim), and only the
worker whose claim the fold accepted calls the provider. So concurrent connectors, zombies and restarts cannot call
twice. What has to be sent is derived state (the store's work table), so there is no position to lose; group membership
only assigns conversations to connectors.
"""

from collections.abc import Callable, Iterable, Mapping

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from structlog.contextvars import bound_contextvars

from airy import topics, trace
from airy.actors import send_facts
from airy.actors.partition_readiness import PartitionReadiness
from airy.actors.projector import Projector
from airy.actors.runtime import Context
from airy.actors.send_limits import SendLimiter
from airy.bus.api import Bus, Subscription
from airy.bus.record import TopicPartition
from airy.errors import Refused, Unavailable
from airy.http_client import AddressBlocked, ConnectFailed, HttpClient, ResponseLost
from airy.model import ids
from airy.model.conversation import Message
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import Fact, ProfileResolved
from airy.sources.first_edition import Failed, Lost, Outcome, Sent, Source
from airy.store.api import Store, Work, WorkKind
from airy.store.holds import hold_of

Unseal = Callable[[Channel], str]

CALL_S = 15.0  # one provider call
CLAIM_VALID_MS = 10_000  # an older claim is not acted on: the current owner of the partition may have settled it
ORPHAN_MS = 30_000  # an attempt of another worker, open for this long, is settled: longer than any claim and call
FOLD_S = 25.0  # waiting longer than this for the own store restarts the actor
CREDENTIALS_RETRY_MS = 60_000  # until a channel whose credentials were refused is tried again
WORK_MAX = 2_000  # rows read from the work table in one round
CHANNEL_WORK_FACTOR = 4  # rows read per channel, as a multiple of its parallel sends: no channel hides the others
REVOKE_S = 20.0
IDLE_S = 1.0
KINDS: tuple[WorkKind, ...] = ("send", "profile")
NO_ATTEMPT = (0, 0)


class Connector:
    def __init__(
        self,
        bus: Bus,
        store: Store,
        projector: Projector,
        source: Source,
        http: HttpClient,
        unseal: Unseal,
        *,
        workers_max: int = 32,
    ) -> None:
        self._bus = bus
        self._store = store
        self._projector = projector
        self._source = source
        self._http = http
        self._unseal = unseal
        self._workers_max = workers_max
        self._limits = SendLimiter(rate_per_s=source.send_rate_per_s, parallel_max=source.send_parallel_max)
        self._readiness = PartitionReadiness(bus, projector, [topics.EVENTS])
        self._in_flight: dict[str, int] = {}  # conversation → its partition
        self._foreign_attempts: dict[
            str, tuple[int, int]
        ] = {}  # message → attempt of another worker, and when it counts as orphaned
        self._work_due = anyio.Event()  # set when the work table may have changed
        self._released = anyio.Event()  # set when a conversation leaves _in_flight
        self._worker = ""
        self.sent = 0
        self.calls = 0

    async def run(self, ctx: Context) -> None:
        self._worker = ctx.ids.new()
        send, receive = anyio.create_memory_object_stream[Work](self._workers_max)
        group = f"sources.{self._source.name}.connector"
        async with (
            self._bus.subscribe([topics.EVENTS], group=group, listener=self) as membership,
            receive,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(self._workers_max):
                tasks.start_soon(self._work, ctx, receive)
            tasks.start_soon(self._keep_membership, ctx, membership)
            tasks.start_soon(self._watch_progress, ctx)
            ctx.ready()
            async with send:
                await self._dispatch_until_drained(ctx, send)
            await self._wait_until_released(self._in_flight.keys())
            tasks.cancel_scope.cancel()

    # --- membership

    async def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        self._readiness.assigned(partitions)
        self._limits.share = self._readiness.share
        self._work_due.set()

    async def on_revoked(self, partitions: Iterable[TopicPartition]) -> None:
        revoked = {tp.partition for tp in partitions}
        self._readiness.revoked(partitions)
        self._limits.share = self._readiness.share
        await self._wait_until_released([name for name, partition in self._in_flight.items() if partition in revoked])

    async def _wait_until_released(self, conversations: Iterable[str]) -> None:
        """Wait until none of these is in flight, at most `REVOKE_S`; a longer call continues and is recorded."""
        waiting = set(conversations)
        with anyio.move_on_after(REVOKE_S):
            while waiting & self._in_flight.keys():
                await self._released.wait()

    async def _keep_membership(self, ctx: Context, membership: Subscription) -> None:
        while True:
            await membership.fetch(records_max=0, wait_s=IDLE_S)
            ctx.progress()

    async def _watch_progress(self, ctx: Context) -> None:
        version = self._projector.version
        while True:
            version = await self._projector.wait_for_progress(version, IDLE_S)
            self._work_due.set()
            if ctx.draining.is_set():
                return

    # --- dispatching

    async def _dispatch_until_drained(self, ctx: Context, send: ObjectSendStream[Work]) -> None:
        while not ctx.draining.is_set():
            self._work_due = anyio.Event()
            wait_s = await self._dispatch(ctx, send)
            ctx.progress()
            with anyio.move_on_after(wait_s):
                await self._work_due.wait()

    async def _dispatch(self, ctx: Context, send: ObjectSendStream[Work]) -> float:
        """Give due work to idle workers; returns the seconds until more can be due."""
        ready = await self._readiness.ready() if self._projector.caught_up else []
        partitions = [tp.partition for tp in ready]
        if not partitions:
            return IDLE_S
        now_ms = ctx.clock.now_ms()
        wait_ms = round(IDLE_S * 1000)
        for kind in KINDS:
            if kind == "profile" and len(self._in_flight) >= self._workers_max // 2:
                break  # sends come before profile look-ups
            for work in await self._store.work(
                kind,
                self._source.name,
                partitions=partitions,
                due_until_ms=now_ms,
                work_max=WORK_MAX,
                per_channel_max=CHANNEL_WORK_FACTOR * self._source.send_parallel_max,
                excluded_channels=self._limits.paused(now_ms),
            ):
                if len(self._in_flight) >= self._workers_max:
                    return IDLE_S  # a released worker sets _work_due
                if (
                    work.conversation_id in self._in_flight
                    or self._foreign_attempts.get(work.message_id or "", NO_ATTEMPT)[1] > now_ms
                ):
                    continue
                if work.state == DeliveryState.PENDING and (
                    wait_for_limit_ms := self._limits.try_acquire(work.channel_id, now_ms)
                ):
                    wait_ms = min(wait_ms, wait_for_limit_ms)
                    continue
                self._in_flight[work.conversation_id] = work.partition
                await send.send(work)
        return wait_ms / 1000

    # --- processing

    async def _work(self, ctx: Context, receive: ObjectReceiveStream[Work]) -> None:
        async for work in receive:
            try:
                with (
                    trace.attach(work.trace),
                    bound_contextvars(conversation_id=work.conversation_id, message_id=work.message_id),
                ):
                    await self._process(ctx, work)
            finally:
                if work.state == DeliveryState.PENDING:
                    self._limits.release(work.channel_id)
                self._in_flight.pop(work.conversation_id, None)
                self._released.set()
                self._released = anyio.Event()
                self._work_due.set()

    async def _process(self, ctx: Context, work: Work) -> None:
        if work.kind == "profile":
            await self._resolve_profile(ctx, work)
        elif work.state == DeliveryState.PENDING:
            await self._send(ctx, work)
        else:
            await self._settle_orphan(ctx, work)

    async def _delay_retry(self, ctx: Context) -> None:
        """Wait before work without a result is read again from the work table, so that the loop does not spin."""
        with ctx.waiting():
            await anyio.sleep(IDLE_S)

    async def _settle_orphan(self, ctx: Context, work: Work) -> None:
        """Record an attempt whose worker is gone as unknown: no process knows its outcome."""
        message = await self._store.message(work.message_id or "")
        if message is None or message.delivery is not DeliveryState.SENDING:
            await self._delay_retry(ctx)
            return
        if message.worker != self._worker and not self._is_orphaned(message, ctx.clock.now_ms()):
            return
        if not await self._projector.wait_until_current([topics.EVENTS], FOLD_S, partition=work.partition):
            await self._delay_retry(ctx)  # the outcome may already be in the log
            return
        after = await self._store.message(message.id)
        if after is not None and (after.delivery, after.attempt) == (DeliveryState.SENDING, message.attempt):
            await self._record_outcome(
                ctx, after, Lost("the worker that called the provider stopped before it recorded the answer")
            )

    def _is_orphaned(self, message: Message, now_ms: int) -> bool:
        """Whether another worker's attempt has been open for `ORPHAN_MS` since it was first seen, by the own clock."""
        self._foreign_attempts = {
            name: seen for name, seen in self._foreign_attempts.items() if seen[1] + ORPHAN_MS > now_ms
        }
        attempt, until_ms = self._foreign_attempts.get(message.id, NO_ATTEMPT)
        if attempt != message.attempt:
            self._foreign_attempts[message.id] = message.attempt, now_ms + ORPHAN_MS
            return False
        return now_ms >= until_ms

    async def _send(self, ctx: Context, work: Work) -> None:
        message = await self._store.message(work.message_id or "")
        if message is None or message.delivery is not DeliveryState.PENDING or message.retry_at_ms > ctx.clock.now_ms():
            await self._delay_retry(ctx)
            return
        if hold_of(self._projector.held, topics.CHANNELS, message.channel_id):
            await self._delay_retry(ctx)  # the channel may be another one by now
            return
        channel = await self._store.channel(message.channel_id)
        if _no_channel(channel):
            # Topics have no common order: the message may be folded before the record that connected its channel.
            if not await self._projector.wait_until_current([topics.CHANNELS], FOLD_S):
                await self._delay_retry(ctx)
                return
            channel = await self._store.channel(message.channel_id)
        await self._attempt(ctx, message, channel)

    async def _attempt(self, ctx: Context, message: Message, channel: Channel | None) -> None:
        now_ms = ctx.clock.now_ms()
        refusal = send_facts.expired(message, now_ms) or _no_channel(channel)
        if refusal is not None or channel is None:
            await self._record_outcome(ctx, message, refusal or Failed(kind="invalid", error="its channel is unknown"))
            return
        view = await self._store.conversation(message.conversation_id)
        try:
            token = self._unseal(channel)
        except Refused as error:
            await self._record_outcome(
                ctx, message, Failed(kind="auth", error=f"the channel's token cannot be read: {error}")
            )
            return
        call = self._source.encode(message, view.conversation if view else None, token, now_ms)
        if isinstance(call, Failed):
            await self._record_outcome(ctx, message, call)
            return
        started = await self._claim(ctx, message)
        if started is None:  # another worker claimed it; the store will show its outcome
            await self._delay_retry(ctx)
            return
        if ctx.clock.now_ms() - now_ms > CLAIM_VALID_MS:  # the process was suspended, or its store is slow
            await self._record_outcome(
                ctx, started, Failed(kind="provider", error="the claim is too old to call the provider", again_s=0.0)
            )
            return
        self.calls += 1
        try:
            answer = await self._http(call.method, call.url, headers=call.headers, body=call.body, total_s=CALL_S)
            outcome = self._source.interpret(answer, ctx.clock.now_ms())
        except ConnectFailed as error:
            outcome = Failed(kind="provider", error=str(error), again_s=0.0)
        except ResponseLost as error:
            outcome = Lost(str(error))
        except AddressBlocked as error:
            outcome = Failed(kind="invalid", error=str(error))
        if isinstance(outcome, Failed) and outcome.stop_lane:
            self._limits.pause(message.channel_id, ctx.clock.now_ms() + CREDENTIALS_RETRY_MS)
            ctx.log.error("channel.credentials_refused", channel_id=message.channel_id, error=outcome.error)
        await self._record_outcome(ctx, started, outcome)

    async def _claim(self, ctx: Context, message: Message) -> Message | None:
        """Append `SendStarted`; the message as folded if this worker's claim was accepted, else None."""
        fact = send_facts.started(message, self._worker, ctx.clock.now_ms())
        await self._publish(ctx, fact)
        folded = await self._store.message(message.id)
        if folded is None or folded.delivery is not DeliveryState.SENDING:
            return None
        return folded if folded.worker == self._worker and folded.attempt == fact.attempt else None

    async def _record_outcome(self, ctx: Context, message: Message, outcome: Outcome) -> None:
        fact = send_facts.ended(message, outcome, ctx.clock.now_ms(), ctx.random)
        await self._publish(ctx, fact, retry=True)
        self.sent += fact.__class__.__name__ == "SendSucceeded"
        if isinstance(outcome, Sent):
            ctx.log.debug("send.ended", message_id=message.id, attempt=message.attempt, outcome="Sent")
        else:
            error = outcome.error if isinstance(outcome, Failed) else outcome.reason
            name = type(outcome).__name__
            ctx.log.info("send.ended", message_id=message.id, attempt=message.attempt, outcome=name, error=error)

    async def _publish(self, ctx: Context, fact: Fact, *, retry: bool = False) -> None:
        """Append and wait until our own store has folded it. With `insist`, an unavailable log is waited for."""
        record = topics.EVENTS.record(fact.conversation_id, fact, headers=(("id", fact.id.encode()), *trace.headers()))
        while True:
            try:
                (position,) = await self._bus.publish([record])
                break
            except Unavailable:
                if not retry:
                    raise
                with ctx.waiting():
                    await anyio.sleep(IDLE_S)
        if not await self._projector.wait_for_position(position, FOLD_S):
            message = f"the store did not fold {position} within {FOLD_S:g} s; the connector restarts"
            raise Unavailable(message)

    # --- profiles

    async def _resolve_profile(self, ctx: Context, work: Work) -> None:
        view = await self._store.conversation(work.conversation_id)
        if view is None or view.conversation.participant_id is None or not view.channel.connected:
            await self._delay_retry(ctx)
            return
        conversation = view.conversation
        try:
            profile = await self._source.profile(
                self._http, conversation.participant_id or "", self._unseal(view.channel)
            )
        except (Unavailable, Refused) as error:
            ctx.log.info("profile.unavailable", conversation_id=conversation.id, error=str(error))
            await self._delay_retry(ctx)
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
