"""A publisher and a dispatcher on a real queue while failures are injected, and what must be delivered afterwards."""

from collections.abc import Awaitable, Callable

import anyio

from airy.actors.change_sink import ReaderLimits
from airy.actors.dispatcher import Dispatcher, DispatcherLimits
from airy.actors.publisher import Publisher
from airy.actors.runtime import Backoff
from airy.queue.redis import RedisQueue
from airy.webhooks.send import DeliveryTimeouts
from tests.kit.webhooks import SEALER, Endpoints, Outbox, acting, lanes, logged, no_rebuild

CHANGES = 60
LANES = 5
PAUSE_S = 0.01
GIVE_UP_S = 120.0


def publisher(outbox: Outbox, queue: RedisQueue) -> Publisher:
    limits = ReaderLimits(idle_s=0.05, commit_s=0.1, backoff=Backoff(initial_s=0.05, ceiling_s=0.5))
    return Publisher(outbox.bus, outbox, outbox, queue, rebuild=no_rebuild, limits=limits, position_check_s=0.1)


def dispatcher(outbox: Outbox, queue: RedisQueue, endpoints: Endpoints) -> Dispatcher:
    return Dispatcher(
        outbox.bus,
        outbox,
        outbox,
        queue,
        endpoints,
        sealer=SEALER,
        disable_webhook=outbox.disable_webhook,
        wait_for_arrival=queue.wait_for_arrival,
        limits=DispatcherLimits(poll_s=0.2),
        timeouts=DeliveryTimeouts(total_s=1.0),
    )


async def delivered_through(queue: RedisQueue, at: dict[int, Callable[[], Awaitable[object]]]) -> Endpoints:
    """Publishes changes, runs a failure of Redis after some of them, and waits until every change is delivered."""
    endpoints = Endpoints()
    await queue.open()
    try:
        async with (
            logged() as outbox,
            acting(publisher(outbox, queue), dispatcher(outbox, queue, endpoints), clock=outbox.clock),
        ):
            await outbox.subscribes("a")
            happened: dict[str, list[str]] = {}
            for number in range(CHANGES):
                lane = f"lane {number % LANES}"
                happened.setdefault(lane, []).extend(await outbox.happens(lane))
                if number in at:
                    await at[number]()
                await anyio.sleep(PAUSE_S)
            with anyio.fail_after(GIVE_UP_S):
                while lanes(endpoints.requests) != happened:
                    await anyio.sleep(0.02)
    finally:
        await queue.close()
    return endpoints


def assert_one_body_per_id(endpoints: Endpoints) -> None:
    bodies: dict[str, set[bytes]] = {}
    for request in endpoints.requests:
        bodies.setdefault(request.event_id, set()).add(request.body)
    assert len(bodies) == CHANGES
    assert all(len(of) == 1 for of in bodies.values())
