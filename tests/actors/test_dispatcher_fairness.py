"""What the endpoints of others and random failures cost an endpoint, in virtual time."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import anyio
import pytest

from airy.actors.dispatcher import Dispatcher, DispatcherLimits
from airy.http_client import ConnectFailed, Response
from airy.queue.api import NO_ENTRY, EntryId, Shard
from airy.queue.sqlite import SqliteQueue
from tests.kit.contracts.queue import entry
from tests.kit.webhooks import SEALER, Behaviour, Endpoints, Outbox, Request, acting, answers, hangs, logged

SHARD = Shard("t", 0)
LANES = 1_000


class Setup:
    """Dispatchers on one queue, and endpoints."""

    def __init__(self, outbox: Outbox, queue: SqliteQueue) -> None:
        self.outbox = outbox
        self.queue = queue
        self.endpoints = Endpoints()
        self.written_s: dict[str, float] = {}
        self._last: EntryId = NO_ENTRY

    def dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self.outbox.bus,
            self.outbox,
            self.outbox,
            self.queue,
            self.endpoints,
            sealer=SEALER,
            disable_webhook=self.outbox.disable_webhook,
            wait_for_arrival=self.queue.wait_for_arrival,
            limits=DispatcherLimits(),
        )

    async def put(self, *webhooks: str, count: int = 1) -> None:
        first = self._last[0] + 1
        entries = [entry(number, *webhooks, lane=f"lane {number % LANES}") for number in range(first, first + count)]
        await self.queue.put(SHARD, entries, after=self._last)
        self._last = entries[-1].id
        self.written_s |= {one.event_id: anyio.current_time() for one in entries}

    def delays_s(self, name: str) -> list[float]:
        """From the put of each delivery to its first request."""
        first = {request.event_id: request.at_s for request in reversed(self.endpoints.to(name))}
        return sorted(at_s - self.written_s[event_id] for event_id, at_s in first.items())


@asynccontextmanager
async def dispatching(behaviours: dict[str, Behaviour], dispatchers: int = 1) -> AsyncIterator[Setup]:
    async with logged() as outbox:
        queue = SqliteQueue()
        await queue.open()
        made = Setup(outbox, queue)
        for name, behaviour in behaviours.items():
            made.endpoints.behave(name, behaviour)
            await outbox.subscribes(name)
        async with acting(*(made.dispatcher() for _ in range(dispatchers)), clock=outbox.clock):
            yield made
        await queue.close()


# --- slow endpoints of others


async def p99_s(others: dict[str, Behaviour], *, dispatchers: int = 1) -> float:
    """Of the delay of an endpoint that gets bursts of 60 deliveries and single ones, while others have a backlog and
    get the bursts as well.
    """
    async with dispatching({**others, "quick": answers(200, after_s=0.05)}, dispatchers) as here:
        if others:
            await here.put(*others, count=60)
            await anyio.sleep(0.1)
        for _ in range(20):
            await here.put(*others, "quick", count=60)
            for _ in range(20):
                await anyio.sleep(0.1)
                await here.put("quick")
        await anyio.sleep(5)
        delays_s = here.delays_s("quick")
        assert len(delays_s) == 20 * 80
        assert here.endpoints.most[""] <= 200 * dispatchers
        return delays_s[math.ceil(0.99 * len(delays_s)) - 1]


OTHERS: dict[str, tuple[int, Behaviour]] = {
    "twelve that answer 200 after 13 s": (12, answers(200, after_s=13)),
    "twelve that answer 500 after 13 s": (12, answers(500, after_s=13)),
    "twelve that answer 503 after 13 s": (12, answers(503, after_s=13)),
    "twelve that never answer": (12, hangs()),
    "a hundred and fifty that answer 200 after 13 s": (150, answers(200, after_s=13)),
}


@pytest.mark.parametrize(
    "which",
    [
        name if name == "twelve that answer 200 after 13 s" else pytest.param(name, marks=pytest.mark.slow)
        for name in OTHERS
    ],
)
async def test_the_p99_of_an_endpoint_is_the_same_whatever_the_others_do(which: str) -> None:
    count, behaviour = OTHERS[which]
    undisturbed_s = await p99_s({})
    assert await p99_s({f"slow-{number}": behaviour for number in range(count)}) <= undisturbed_s * 1.1


@pytest.mark.slow
async def test_the_same_with_two_dispatchers_on_one_queue() -> None:
    others = {f"slow-{number}": answers(200, after_s=13) for number in range(24)}
    assert await p99_s(others, dispatchers=2) <= await p99_s({}, dispatchers=2) * 1.1


async def test_slow_endpoints_still_get_their_share() -> None:
    slow = {f"slow-{number}": answers(200, after_s=13) for number in range(12)}
    async with dispatching(slow) as here:
        await here.put(*slow, count=500)
        await anyio.sleep(600)
        assert {len(here.endpoints.to(name)) for name in slow} <= set(range(300, 400))


# --- random failures


def fails_at_first(rate: float, failure: Callable[[], Response]) -> Behaviour:
    """Fails this part of the first attempts and takes every retry."""
    random, seen = Random(5), set[str]()

    async def behave(request: Request) -> Response:
        await anyio.sleep(0.05)
        first = request.event_id not in seen
        seen.add(request.event_id)
        return failure() if first and random.random() < rate else Response(200, {}, b"")

    return behave


def unavailable() -> Response:
    return Response(503, {}, b"")


def reset() -> Response:
    raise ConnectFailed("connection reset")


async def taken_per_s(behaviour: Behaviour) -> float:
    async with dispatching({"a": behaviour}) as here:
        await here.put("a", count=6_000)
        began = anyio.current_time()
        taken = 0
        while taken < 3_000 and anyio.current_time() < began + 600:
            await anyio.sleep(0.5)
            stats = await here.queue.stats()
            taken = 6_000 - stats.waiting - stats.leased
        return taken / (anyio.current_time() - began)


RATES = {0.01: 0.95, 0.05: 0.85, 0.2: 0.6, 0.5: 0.3}


@pytest.mark.slow
@pytest.mark.parametrize("failure", [unavailable, reset])
async def test_throughput_falls_in_proportion_to_random_failures(failure: Callable[[], Response]) -> None:
    undisturbed = await taken_per_s(fails_at_first(0.0, failure))
    shares = [await taken_per_s(fails_at_first(rate, failure)) / undisturbed for rate in RATES]
    assert all(share >= least for share, least in zip(shares, RATES.values(), strict=True))
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("failure", [unavailable, reset])
async def test_an_endpoint_where_everything_fails_gets_one_probe_at_a_time(failure: Callable[[], Response]) -> None:
    async def fails(_request: Request) -> Response:
        return failure()

    async with dispatching({"a": fails}) as here:
        await here.put("a", count=1_000)
        await anyio.sleep(60)
        assert 5 < len(here.endpoints.to("a")) < 40
