"""The dispatcher claims jobs from the queue and has a bounded pool of workers deliver them.

At least once, in order per lane: a lease outlasts the longest request, and the queue rejects the outcome of a worker
whose lease was lost. An endpoint gets as many jobs as its health admits (`endpoint_health`), and no more than leave
workers free for others (`slot_division`). An unexpected exception of one job is a failed attempt of that job.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct

from airy.actors.attempt_log import AttemptLog
from airy.actors.bug_report import BUGS
from airy.actors.dead_deliveries import DeadDeliveries, DeadDeliveryStore
from airy.actors.delivery import DeliveryExecutor, DeliveryMetrics, DisableCallback
from airy.actors.fold_progress import FoldProgress
from airy.actors.runtime import Context
from airy.actors.subscribers import Subscribers, WebhookStore
from airy.bus.api import Bus
from airy.bus.record_schema import PartitionHeld
from airy.errors import Misconfigured, Unavailable
from airy.http_client import HttpClient
from airy.model.entity import Webhook
from airy.queue.api import Job, WebhookQueue
from airy.seal import Sealer
from airy.webhooks.endpoint_health import EndpointHealth
from airy.webhooks.send import DeliveryTimeouts
from airy.webhooks.slot_division import divide_slots

LEASE_SPARE_S = 30.0  # beyond the longest request; a slow answer of the queue uses some of it
PAUSE_S = 1.0  # while the queue is unavailable
FLUSH_S = 2.0  # for the last records of attempts


class DispatcherStore(WebhookStore, DeadDeliveryStore, Protocol):
    """The part of the store that is used here."""


class Assignment(NamedTuple):
    job: Job
    webhook: Webhook | None  # as folded when the job was claimed
    at_s: float  # monotonic
    leased_until_s: float  # monotonic


ArrivalWait = Callable[[float], Awaitable[None]]


class DispatcherLimits(Struct, frozen=True, kw_only=True):
    in_flight_max: int = 200  # workers
    per_webhook_max: int = 20
    poll_s: float = 1.0
    claim_interval_s: float = 0.0  # at least, between claims: for a queue with many shards few large ones are cheaper


class Dispatcher:
    """`wait_for_arrival(within_s)` may return early when the queue has new jobs; polling alone is sufficient."""

    def __init__(
        self,
        bus: Bus,
        store: DispatcherStore,
        progress: FoldProgress,
        queue: WebhookQueue,
        http: HttpClient,
        *,
        sealer: Sealer,
        disable_webhook: DisableCallback,
        wait_for_arrival: ArrivalWait = anyio.sleep,
        limits: DispatcherLimits | None = None,
        timeouts: DeliveryTimeouts | None = None,
        metrics: DeliveryMetrics | None = None,
    ) -> None:
        self._queue = queue
        self._wait_for_arrival = wait_for_arrival
        timeouts = timeouts or DeliveryTimeouts()
        self._limits = limits or DispatcherLimits()
        self._request_s = timeouts.total_s
        self._lease_ms = round((timeouts.total_s + LEASE_SPARE_S) * 1000)
        self._subscribers = Subscribers(bus, store, progress)
        self._attempts = AttemptLog(bus, queue)
        self._dead_deliveries = DeadDeliveries(bus, store, progress, queue)
        self._executor = DeliveryExecutor(
            queue,
            http,
            sealer,
            self._subscribers,
            attempts=self._attempts,
            dead_deliveries=self._dead_deliveries,
            disable_webhook=disable_webhook,
            timeouts=timeouts,
            report_s=LEASE_SPARE_S,
            metrics=metrics or DeliveryMetrics(),
        )
        self._endpoints: dict[str, EndpointHealth] = {}  # by webhook id
        self._assignments: deque[Assignment] = deque()  # for the next idle worker
        self._idle: list[anyio.Event] = []  # one per waiting worker
        self._workers = 0
        self._in_flight = 0  # includes `_assignments`
        self._wake_up = anyio.Event()
        self._claimed_ms = 0  # by the queue's clock
        self._claimed_s = 0.0  # monotonic

    async def run(self, ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._wake_up_on_draining, ctx)
            tasks.start_soon(self._wake_up_on_arrivals)
            tasks.start_soon(self._attempts.run, ctx)
            tasks.start_soon(self._dead_deliveries.run, ctx)
            ctx.ready()
            while not ctx.draining.is_set():
                self._wake_up = anyio.Event()
                wait_s = await self._claim(ctx, tasks)
                ctx.progress()
                with ctx.waiting():
                    await self._wait(ctx, wait_s)
            while self._in_flight:
                self._wake_up = anyio.Event()
                await self._wake_up.wait()
                ctx.progress()
            with anyio.move_on_after(FLUSH_S):
                await self._attempts.flush(ctx)
            tasks.cancel_scope.cancel()

    async def _wait(self, ctx: Context, wait_s: float | None) -> None:
        """Until there may be jobs to claim. None: unknown; the queue is asked only if nothing has arrived meanwhile."""
        if self._limits.claim_interval_s:
            await anyio.sleep(self._limits.claim_interval_s)  # arrivals and outcomes meanwhile are one claim
        if self._wake_up.is_set():
            return
        if wait_s is None:
            wait_s = await self._idle_s(ctx)
        with anyio.move_on_after(wait_s):
            await self._wake_up.wait()

    async def _wake_up_on_draining(self, ctx: Context) -> None:
        await ctx.draining.wait()
        self._wake_up.set()

    async def _wake_up_on_arrivals(self) -> None:
        while True:
            await self._wait_for_arrival(self._limits.poll_s)
            self._wake_up.set()

    # --- claiming

    async def _claim(self, ctx: Context, tasks: TaskGroup) -> float | None:
        """Assign due jobs to workers; returns how long no more can be due, where that is known."""
        limits = self._limits
        jobs_max = limits.in_flight_max - self._in_flight
        if jobs_max <= 0:
            return limits.poll_s
        self._claimed_ms = now_ms = self._queue.now_ms(ctx.clock.now_ms())
        self._claimed_s = now_s = anyio.current_time()
        leased_until_s = now_s + self._lease_ms / 1000
        self._forget_endpoints(now_s)
        try:
            jobs = await self._queue.claim(
                now_ms=now_ms,
                lease_ms=self._lease_ms,
                jobs_max=jobs_max,
                per_webhook_max=limits.per_webhook_max,
                webhook_limits={name: endpoint.concurrency(now_s) for name, endpoint in self._endpoints.items()},
                divide=self._divide,
            )
            webhooks = await self._webhooks(dict.fromkeys(job.webhook_id for job in jobs))
            now_s = anyio.current_time()
            for job in jobs:
                endpoint = self._endpoint(job.webhook_id)
                if ctx.draining.is_set() or endpoint.available_at_s(now_s) is not None:
                    await self._queue.release(job)
                    continue
                endpoint.start(now_s)
                self._assign(Assignment(job, webhooks.get(job.webhook_id), now_s, leased_until_s), ctx, tasks)
            return limits.poll_s if len(jobs) == jobs_max else None
        except Unavailable as error:
            ctx.log.warning("dispatcher.queue_unavailable", error=str(error))
            return PAUSE_S

    def _divide(self, wanted: Mapping[str, int]) -> dict[str, int]:
        now_s = anyio.current_time()
        relevant = ((name, one) for name, one in self._endpoints.items() if one.started_s or name in wanted)
        return divide_slots(self._limits.in_flight_max, {name: one.load(now_s) for name, one in relevant}, wanted)

    async def _webhooks(self, webhook_ids: Iterable[str]) -> dict[str, Webhook | None]:
        """Where the state of a webhook is held it is left out, and its endpoint paused: another process may deliver."""
        webhooks: dict[str, Webhook | None] = {}
        for webhook_id in webhook_ids:
            try:
                webhooks[webhook_id] = await self._subscribers.webhook(webhook_id)
            except PartitionHeld as error:
                self._endpoint(webhook_id).pause(anyio.current_time() + (error.retry_after_s or PAUSE_S))
        return webhooks

    def _assign(self, assignment: Assignment, ctx: Context, tasks: TaskGroup) -> None:
        self._in_flight += 1
        self._assignments.append(assignment)
        if self._idle:
            self._idle.pop().set()
        elif self._workers < self._limits.in_flight_max:
            self._workers += 1
            tasks.start_soon(self._work, ctx)

    async def _idle_s(self, ctx: Context) -> float:
        """Until a job is due or an endpoint is available again. Jobs that were due at the claim wait for the latter, or
        for a worker.
        """
        try:
            due_ms = await self._queue.next_due_ms()
        except Unavailable as error:
            ctx.log.warning("dispatcher.queue_unavailable", error=str(error))
            return PAUSE_S
        waits_s = [self._limits.poll_s]
        if due_ms is not None and due_ms > self._claimed_ms:
            waits_s.append((due_ms - self._queue.now_ms(ctx.clock.now_ms())) / 1000)
        now_s = anyio.current_time()
        for endpoint in self._endpoints.values():
            available_at_s = endpoint.available_at_s(self._claimed_s)
            if available_at_s is not None:
                waits_s.append(available_at_s - now_s)
        return max(0.0, min(waits_s))

    def _endpoint(self, webhook_id: str) -> EndpointHealth:
        endpoint = self._endpoints.get(webhook_id)
        if endpoint is None:
            endpoint = self._endpoints[webhook_id] = EndpointHealth(self._limits.per_webhook_max)
        return endpoint

    def _forget_endpoints(self, now_s: float) -> None:
        for webhook_id in [name for name, endpoint in self._endpoints.items() if endpoint.is_outdated(now_s)]:
            del self._endpoints[webhook_id]

    # --- delivering

    async def _work(self, ctx: Context) -> None:
        while True:
            while not self._assignments:
                assigned = anyio.Event()
                self._idle.append(assigned)
                await assigned.wait()
            job, webhook, at_s, leased_until_s = self._assignments.popleft()
            endpoint = self._endpoint(job.webhook_id)
            try:
                if ctx.draining.is_set() or anyio.current_time() + self._request_s > leased_until_s:
                    await self._executor.release(ctx, job)
                else:
                    await self._executor.deliver(ctx, job, webhook, endpoint, started_s=at_s)
            except Misconfigured:
                raise
            except BUGS as error:
                await self._executor.end_after_bug(ctx, job, error)
            finally:
                self._in_flight -= 1
                endpoint.finish(at_s)
                self._wake_up.set()
