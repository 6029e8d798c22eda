"""The outbound connector: sends pending messages, looks up profiles and checks channels, for all kinds of channel a
process runs.

What has to be done is derived state (the store's work table), so there is no position to lose; group membership only
assigns conversations to connectors. Each source has a consumer group of its own, because a process may run some sources
and another process others.

Idle sources cost nothing: the store is asked for a part of the work only when the projector reports that a batch
touched it, when something of it becomes due, or when partitions change hands. Each piece of work is a task that exists
while it runs.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from math import inf

import anyio
from anyio.abc import TaskGroup
from structlog.contextvars import bound_contextvars

from airy import topics, trace
from airy.actors.bug_report import BUGS, BugCounts
from airy.actors.channel_checks import ChannelChecks, RecordCheck, checked_kinds
from airy.actors.fact_appender import FactAppender
from airy.actors.fold_progress import WorkProgress
from airy.actors.message_sender import Credentials, MessageSender, OutboundKind
from airy.actors.partition_readiness import EndOffsets, PartitionReadiness
from airy.actors.profile_lookup import ProfileLookups
from airy.actors.read_marks import ReadMarks
from airy.actors.runtime import Context
from airy.actors.send_facts import retry_in_ms
from airy.actors.send_limits import SendLimiter
from airy.bus.api import Bus, Subscription
from airy.bus.record import TopicPartition
from airy.clock import monotonic_ms
from airy.errors import Misconfigured
from airy.http_client import HttpClient
from airy.model.delivery_state import DeliveryState
from airy.sources.api import Source
from airy.sources.provider_pauses import ProviderPauses
from airy.store.api import ConnectorStore, Work, WorkKey

WORK_MAX = 2_000  # rows read from the work table at once
CHANNEL_WORK_FACTOR = 4  # rows read per channel, as a multiple of its parallel sends: no channel hides the others
REVOKE_S = 20.0  # work in flight is awaited this long when draining, and when partitions are revoked
POLL_S = 0.2  # between two rounds over the groups of several sources
LOOK_S = 1.0  # partitions that are not ready are checked again after this
WAIT_S_MAX = 30.0  # timers are checked at least this often, because clocks may jump
FAR_MS = 1 << 62  # all work is read, with the time at which it becomes due


class SourceMembership:
    """Membership of one source's group: which conversations this process acts on for the source's kinds."""

    def __init__(self, source: Source, readiness: PartitionReadiness, pauses: ProviderPauses) -> None:
        spec = source.spec
        self.group = topics.source_group(spec.name, "connector")
        self.readiness = readiness
        self.in_flight: dict[str, int] = {}  # conversation → its partition
        self.kinds = {
            kind.name: OutboundKind(
                kind,
                source,
                SendLimiter(
                    rate_per_s=kind.limits.per_s,
                    parallel_max=kind.limits.parallel_max,
                    conversation_per_s=kind.limits.conversation_per_s,
                    conversation_burst=kind.limits.conversation_burst,
                ),
                pauses,
            )
            for kind in spec.kinds
        }
        self.work_keys = [WorkKey("send", name) for name in self.kinds]
        looked_up = [each.name for each in spec.kinds if each.capabilities.profile == "provider"]
        self.work_keys += [WorkKey("profile", name) for name in looked_up]

    def update_share(self) -> None:
        for each in self.kinds.values():
            each.limiter.share = self.readiness.share


class _MembershipListener:
    def __init__(self, connector: "Connector", membership: SourceMembership) -> None:
        self._connector = connector
        self._membership = membership

    async def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        self._membership.readiness.assigned(partitions)
        self._membership.update_share()
        self._connector.schedule(self._membership.work_keys)

    async def on_revoked(self, partitions: Iterable[TopicPartition]) -> None:
        revoked = {tp.partition for tp in partitions}
        self._membership.readiness.revoked(partitions)
        self._membership.update_share()
        going = [name for name, partition in self._membership.in_flight.items() if partition in revoked]
        until = self._connector.revocation_ends_at()
        await self._connector.wait_until_released(self._membership, going, until=until)


class Connector:
    def __init__(
        self,
        bus: Bus,
        store: ConnectorStore,
        progress: WorkProgress,
        sources: Iterable[Source],
        http: HttpClient,
        credentials: Credentials,
        *,
        guarded_http: HttpClient | None = None,
        workers_max: int = 32,
        bugs: BugCounts | None = None,
        pauses: ProviderPauses | None = None,
        record_check: RecordCheck | None = None,
        checks: Counter[str] | None = None,
        marked_kinds: Collection[str] = (),
    ) -> None:
        """`workers_max`: work in flight per source. `guarded_http` calls addresses that callers of the API named; None:
        `http` does. `pauses` are shared with the API's calls to providers.
        Contacts of `marked_kinds` see what was read.
        Without `record_check` no channel is checked; `checks` counts them by outcome.
        """
        self._bus = bus
        self._store = store
        self._progress = progress
        self._http = http
        self._guarded_http = guarded_http
        self._credentials = credentials
        self._marked_kinds = frozenset(marked_kinds)
        self._workers_max = workers_max
        self._bugs: BugCounts = Counter() if bugs is None else bugs
        ends = EndOffsets(bus, [topics.EVENTS])
        pauses = pauses or ProviderPauses()
        self._memberships = [
            SourceMembership(source, PartitionReadiness(bus, progress, [topics.EVENTS], end_offsets=ends), pauses)
            for source in sources
        ]
        self._record_check = record_check
        self._check_counts = checks
        self._by_kind = {name: each for each in self._memberships for name in each.kinds}
        self._known_keys = {key for each in self._memberships for key in each.work_keys}
        self._due: dict[WorkKey, float] = {}  # part of the work → when the store is asked for it
        self._revocation_ends_at = -inf
        self._wake = anyio.Event()
        self._released = anyio.Event()  # set when a conversation is no longer in flight
        self.sender: MessageSender
        self._lookups: ProfileLookups

    async def run(self, ctx: Context) -> None:
        appender = FactAppender(self._bus, self._progress)
        self.sender = MessageSender(
            self._store,
            self._progress,
            appender,
            self._http,
            self._credentials,
            guarded_http=self._guarded_http,
            worker=ctx.ids.new(),
            bugs=self._bugs,
        )
        self._lookups = ProfileLookups(self._store, appender, self._http, self._credentials, bugs=self._bugs)
        checks = self._channel_checks()
        if checks is not None:
            self.sender.on_refused = checks.check_soon
        async with AsyncExitStack() as stack:
            subscriptions = [
                await stack.enter_async_context(
                    self._bus.subscribe([topics.EVENTS], group=each.group, listener=_MembershipListener(self, each))
                )
                for each in self._memberships
            ]
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.enter_context(self._progress.watching_work(self.schedule))
            if self._marked_kinds:
                marks = ReadMarks(self._store, self._http, self._credentials, self._sends_for, self._bugs)
                stack.enter_context(self._progress.watching_reads(marks.add))
                tasks.start_soon(marks.run, ctx)
            self.schedule(self._known_keys)
            tasks.start_soon(_keep_memberships, subscriptions)
            if checks is not None:
                tasks.start_soon(checks.run, ctx)
            ctx.ready()
            await self._dispatch_until_drained(ctx, tasks)
            until = anyio.current_time() + REVOKE_S
            for each in self._memberships:
                await self.wait_until_released(each, each.in_flight, until=until)
            tasks.cancel_scope.cancel()

    def _channel_checks(self) -> ChannelChecks | None:
        if self._record_check is None:
            return None
        kinds = [(kind, each.readiness) for each in self._memberships for kind in each.kinds.values()]
        return ChannelChecks(
            self._store,
            self._progress,
            checked_kinds(kinds),
            self._http,
            self._credentials,
            self._record_check,
            counts=self._check_counts,
            bugs=self._bugs,
        )

    def schedule(self, keys: Collection[WorkKey], *, in_s: float = 0.0) -> None:
        """Ask the store for these parts of the work, now or after `in_s`."""
        at = anyio.current_time() + in_s
        for key in keys:
            if key in self._known_keys and at < self._due.get(key, inf):
                self._due[key] = at
        if not in_s:
            self._wake.set()

    def revocation_ends_at(self) -> float:
        """`REVOKE_S` after the first of several groups that lose partitions one after the other."""
        now = anyio.current_time()
        if now > self._revocation_ends_at + REVOKE_S:
            self._revocation_ends_at = now + REVOKE_S
        return self._revocation_ends_at

    async def wait_until_released(
        self, membership: SourceMembership, conversations: Iterable[str], *, until: float
    ) -> None:
        """Wait until none of these is in flight; a call that takes longer continues and is recorded."""
        waiting = set(conversations)
        with anyio.CancelScope(deadline=until):
            while waiting & membership.in_flight.keys():
                await self._released.wait()

    async def _sends_for(self, kind: str, partition: int) -> OutboundKind | None:
        """The kind, if contacts see what was read, and this process sends to those of the partition."""
        membership = self._by_kind.get(kind) if kind in self._marked_kinds else None
        if membership is None or all(tp.partition != partition for tp in await membership.readiness.ready()):
            return None
        return membership.kinds[kind]

    # --- dispatching

    async def _dispatch_until_drained(self, ctx: Context, tasks: TaskGroup) -> None:
        while not ctx.draining.is_set():
            self._wake = anyio.Event()
            if self._progress.caught_up:
                await self._dispatch_due(ctx, tasks)
            ctx.progress()
            wait_s = min(self._due.values(), default=inf) - anyio.current_time() if self._progress.caught_up else LOOK_S
            with anyio.move_on_after(max(0.0, min(wait_s, LOOK_S))):
                await self._wake.wait()

    async def _dispatch_due(self, ctx: Context, tasks: TaskGroup) -> None:
        now = anyio.current_time()
        due = [key for key, at in self._due.items() if at <= now]
        due.sort(key=lambda key: key.kind == "profile")  # sends come before profile look-ups
        for key in due:
            del self._due[key]
            wait_s = await self.dispatch(ctx, tasks, key)
            if wait_s is not None:
                self.schedule([key], in_s=max(0.001, min(wait_s, WAIT_S_MAX)))

    async def dispatch(self, ctx: Context, tasks: TaskGroup, key: WorkKey) -> float | None:
        """Start the work of one part that is due. Returns when to ask again in seconds; None: when it is touched.

        Work in flight schedules its part again when it ends.
        """
        membership = self._by_kind[key.source]
        partitions = [tp.partition for tp in await membership.readiness.ready()]
        waits = [LOOK_S] if len(partitions) < membership.readiness.assigned_count else []
        if not partitions:
            return min(waits, default=None)
        now_ms, wall_ms = monotonic_ms(), ctx.clock.now_ms()
        outbound = membership.kinds[key.source]
        workers_max = self._workers_max if key.kind == "send" else self._workers_max // 2
        paused_ms = outbound.limiter.resumes_in_ms(now_ms)
        if paused_ms is not None:
            waits.append(paused_ms / 1000)
        for work in await self._store.work(
            key.kind,
            key.source,
            partitions=partitions,
            due_until_ms=FAR_MS,
            work_max=WORK_MAX,
            per_channel_max=CHANNEL_WORK_FACTOR * outbound.kind.limits.parallel_max,
            excluded_channels=outbound.limiter.paused(now_ms),
        ):
            if len(membership.in_flight) >= workers_max:
                break  # released work schedules the part again
            if work.conversation_id in membership.in_flight:
                continue
            if wait_ms := self._wait_ms(work, outbound, now_ms=now_ms, wall_ms=wall_ms):
                waits.append(wait_ms / 1000)
                continue
            membership.in_flight[work.conversation_id] = work.partition
            tasks.start_soon(self._run_work, ctx, work, membership, outbound)
        return min(waits, default=None)

    def _wait_ms(self, work: Work, outbound: OutboundKind, *, now_ms: int, wall_ms: int) -> int:
        """0: start it now, the limiter's slot is taken. Otherwise milliseconds until it may be started."""
        if work.kind == "profile":
            wait_ms = self._lookups.due_in_ms(work, now_ms) or outbound.app_resumes_in_ms()
            return wait_ms or outbound.limiter.try_acquire(work.channel_id, now_ms)
        if wait_ms := self.sender.postponed_ms(work.message_id or "", now_ms):
            return wait_ms
        if work.state != DeliveryState.PENDING:
            return self.sender.settles_in_ms(work.message_id or "", now_ms)
        if app_ms := outbound.app_resumes_in_ms():
            return app_ms
        if wait_ms := retry_in_ms(work.due_ms, work.attempted_ms, wall_ms):
            return wait_ms
        return outbound.limiter.try_acquire(work.channel_id, now_ms, conversation_id=work.conversation_id)

    async def _run_work(self, ctx: Context, work: Work, membership: SourceMembership, outbound: OutboundKind) -> None:
        try:
            with (
                trace.attach(work.trace),
                bound_contextvars(conversation_id=work.conversation_id, message_id=work.message_id),
            ):
                if work.kind == "profile":
                    await self._lookups.look_up(ctx, work, outbound)
                elif work.state == DeliveryState.PENDING:
                    await self.sender.send(ctx, work, outbound)
                else:
                    await self.sender.settle(ctx, work, outbound)
        except Misconfigured:
            raise
        except BUGS as error:  # of this message or contact; the work of others goes on
            if work.kind == "profile":
                self._lookups.end_after_bug(ctx, work, error)
            else:
                await self.sender.end_after_bug(ctx, work, error)
        finally:
            if work.kind == "profile" or work.state == DeliveryState.PENDING:
                outbound.limiter.release(work.channel_id)
            del membership.in_flight[work.conversation_id]
            self._released.set()
            self._released = anyio.Event()
            self.schedule(membership.work_keys)  # other work of the conversation, or of the crowd, may have waited


async def _keep_memberships(subscriptions: Sequence[Subscription]) -> None:
    """All groups in one task; alone, a group needs no polling."""
    wait_s = LOOK_S if len(subscriptions) == 1 else 0.0
    while True:
        for subscription in subscriptions:
            await subscription.fetch(records_max=0, wait_s=wait_s)
        if not wait_s:
            await anyio.sleep(POLL_S)
