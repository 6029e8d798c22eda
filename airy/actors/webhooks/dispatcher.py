"""The dispatcher: claims jobs from the queue and has a bounded pool of workers deliver them.

At least once, in order per lane: a lease outlasts the longest request, and whoever lost its lease is told
so by the queue. An endpoint that is not there, or has too much, is left alone by its breaker
(`endpoint`), so that it never holds the workers others need.
"""

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from airy.actors.progress import Progress
from airy.actors.runtime import Context
from airy.actors.webhooks.attempts import Attempts
from airy.actors.webhooks.courier import Courier, SwitchOff
from airy.actors.webhooks.dead_letters import Burials, DeadLetters, Heritage
from airy.actors.webhooks.endpoint import Endpoint
from airy.actors.webhooks.queue import Job, WebhookQueue
from airy.actors.webhooks.subscribers import Subscribers, Webhooks
from airy.bus.api import Bus
from airy.errors import Unavailable
from airy.fetch import Fetch
from airy.histogram import LONG_S, Histogram
from airy.model.entity import Webhook
from airy.seal import Sealer

LEASE_SPARE_S = 30.0  # beyond the longest request; some of it may go by before the request begins
PAUSE_S = 1.0  # while the queue is unavailable
FLUSH_S = 2.0  # for the last records of attempts


class Engine(Webhooks, Burials, Protocol):
    """What is asked of a store."""


Errand = tuple[Job, Webhook | None]
Arrived = Callable[[float], Awaitable[None]]


class Dispatcher:
    """`arrived(within_s)` may return early when the queue has something new; polling alone is enough.

    Claims are at least `gather_s` apart: where each is a question to all shards of a queue, few large ones are cheaper.
    """

    def __init__(
        self,
        bus: Bus,
        store: Engine,
        progress: Progress,
        queue: WebhookQueue,
        fetch: Fetch,
        *,
        sealer: Sealer,
        switch_off: SwitchOff,
        arrived: Arrived = anyio.sleep,
        in_flight_max: int = 200,
        per_webhook_max: int = 20,
        connect_s: float = 5.0,
        total_s: float = 15.0,
        poll_s: float = 1.0,
        gather_s: float = 0.0,
        counts: Counter[str] | None = None,
        heritage: Heritage | None = None,
        lateness: Histogram | None = None,
    ) -> None:
        self._queue = queue
        self._arrived = arrived
        self._in_flight_max = in_flight_max
        self._ahead_max = (
            in_flight_max // 4
        )  # claimed on top, so that a worker that gets free need not wait for a claim
        self._per_webhook_max = per_webhook_max
        self._request_ms = round(total_s * 1000)
        self._lease_ms = round((total_s + LEASE_SPARE_S) * 1000)
        self._poll_s = poll_s
        self._gather_s = gather_s
        self._subscribers = Subscribers(bus, store, progress)
        self._attempts = Attempts(bus)
        self._dead_letters = DeadLetters(bus, store, progress, queue, heritage=heritage)
        self._courier = Courier(
            queue,
            fetch,
            sealer,
            self._subscribers,
            attempts=self._attempts,
            dead_letters=self._dead_letters,
            switch_off=switch_off,
            connect_s=connect_s,
            total_s=total_s,
            counts=Counter[str]() if counts is None else counts,
            lateness=lateness or Histogram(LONG_S),
        )
        self._endpoints: dict[str, Endpoint] = {}  # those with something to remember
        self._errands: deque[Errand] = deque()  # for the next worker that is free
        self._idle: list[anyio.Event] = []  # one per worker that waits
        self._workers = 0
        self._in_flight = 0  # with those in `errands`
        self._wake = anyio.Event()
        self._claimed_ms = 0

    async def run(self, ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, ctx.draining.wait)
            tasks.start_soon(self._watch_arrivals)
            tasks.start_soon(self._attempts.run, ctx)
            tasks.start_soon(self._dead_letters.run, ctx)
            ctx.ready()
            while not ctx.draining.is_set():
                self._wake = anyio.Event()
                wait_s = await self._hand_out(ctx, tasks)
                ctx.progress()
                with ctx.waiting():
                    await self._rest(ctx, wait_s)
            while self._in_flight:
                self._wake = anyio.Event()
                await self._wake.wait()
                ctx.progress()
            with anyio.move_on_after(FLUSH_S):
                await self._attempts.flush(ctx)
            tasks.cancel_scope.cancel()

    async def _rest(self, ctx: Context, wait_s: float | None) -> None:
        """Until there may be something to claim. None: nobody knows yet, and most of the time nobody has to ask."""
        if self._gather_s:
            await anyio.sleep(self._gather_s)  # what is put and what is finished meanwhile is one claim
        if self._wake.is_set():
            return
        if wait_s is None:
            wait_s = await self._quiet_s(ctx)
        with anyio.move_on_after(wait_s):
            await self._wake.wait()

    async def _watch(self, event: Callable[[], Awaitable[object]]) -> None:
        await event()
        self._wake.set()

    async def _watch_arrivals(self) -> None:
        while True:
            await self._arrived(self._poll_s)
            self._wake.set()

    # --- handing out

    async def _hand_out(self, ctx: Context, tasks: TaskGroup) -> float | None:
        """Give workers what is due; returns how long nothing more can be, unless somebody wakes us, where it knows."""
        free = self._in_flight_max + self._ahead_max - self._in_flight
        if self._busy():
            return self._poll_s
        self._claimed_ms = now_ms = ctx.clock.now_ms()
        try:
            jobs = await self._queue.claim(
                now_ms=now_ms,
                lease_ms=self._lease_ms,
                jobs_max=free,
                per_webhook_max=self._per_webhook_max,
                not_webhooks=frozenset(name for name, one in self._endpoints.items() if one.room(now_ms) <= 0),
            )
            webhooks = {
                name: await self._subscribers.webhook(name) for name in dict.fromkeys(job.webhook_id for job in jobs)
            }
            for job in jobs:
                endpoint = self._endpoint(job.webhook_id)
                if ctx.draining.is_set() or endpoint.room(now_ms) <= 0:
                    await self._queue.release(job)
                    continue
                endpoint.in_flight += 1
                self._in_flight += 1
                self._errands.append((job, webhooks[job.webhook_id]))
                if self._idle:
                    self._idle.pop().set()
                elif self._workers < self._in_flight_max:
                    self._workers += 1
                    tasks.start_soon(self._work, ctx)
            return self._poll_s if len(jobs) == free else None
        except Unavailable as error:
            ctx.log.warning("dispatcher.waits", error=str(error))
            return PAUSE_S

    def _busy(self) -> bool:
        """So much is under way that more can wait: rather some at once than one at a time."""
        return self._in_flight >= self._in_flight_max + (self._ahead_max + 1) // 2

    async def _quiet_s(self, ctx: Context) -> float:
        """Until a job is due or a breaker lets somebody through; what was due when we claimed waits for those."""
        try:
            due_ms = await self._queue.next_due_ms()
        except Unavailable as error:
            ctx.log.warning("dispatcher.waits", error=str(error))
            return PAUSE_S
        opens_ms = [one.opens_at_ms(self._claimed_ms) for one in self._endpoints.values()]
        times_ms = [at_ms for at_ms in (due_ms, *opens_ms) if at_ms is not None and at_ms > self._claimed_ms]
        now_ms = ctx.clock.now_ms()
        return max(0.0, min([self._poll_s, *((at_ms - now_ms) / 1000 for at_ms in times_ms)]))

    def _endpoint(self, webhook_id: str) -> Endpoint:
        endpoint = self._endpoints.get(webhook_id)
        if endpoint is None:
            endpoint = self._endpoints[webhook_id] = Endpoint(self._per_webhook_max, self._per_webhook_max)
        return endpoint

    # --- delivering

    async def _work(self, ctx: Context) -> None:
        while True:
            while not self._errands:
                called = anyio.Event()
                self._idle.append(called)
                await called.wait()
            job, webhook = self._errands.popleft()
            endpoint = self._endpoint(job.webhook_id)
            try:
                if ctx.draining.is_set() or ctx.clock.now_ms() + self._request_ms > job.leased_until_ms:
                    await self._courier.give_back(ctx, job)
                else:
                    await self._courier.carry(ctx, job, webhook, endpoint)
            finally:
                self._in_flight -= 1
                endpoint.in_flight -= 1
                if endpoint.at_rest(ctx.clock.now_ms()):
                    self._endpoints.pop(job.webhook_id, None)
                if not self._busy():
                    self._wake.set()
