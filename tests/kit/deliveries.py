"""A publisher and a dispatcher at work on a real queue, while something happens to it: what must have arrived then."""

from collections.abc import Awaitable, Callable

import anyio

from airy.actors.webhooks.dispatcher import Dispatcher
from airy.actors.webhooks.publisher import Publisher
from airy.actors.webhooks.queue_redis import RedisQueue
from tests.kit.webhooks import SEALER, Endpoints, Outbox, acting, lanes, logged

CHANGES = 60
LANES = 5
PAUSE_S = 0.01
GIVE_UP_S = 120.0


def publisher(outbox: Outbox, queue: RedisQueue) -> Publisher:
    return Publisher(
        outbox.bus, outbox, outbox, queue, forget=outbox.forget_changes, idle_s=0.05, audit_s=0.1, commit_s=0.1
    )


def dispatcher(outbox: Outbox, queue: RedisQueue, endpoints: Endpoints) -> Dispatcher:
    return Dispatcher(
        outbox.bus,
        outbox,
        outbox,
        queue,
        endpoints,
        sealer=SEALER,
        switch_off=outbox.switch_off,
        arrived=queue.arrived,
        poll_s=0.2,
        total_s=1.0,
    )


async def delivered_through(queue: RedisQueue, at: dict[int, Callable[[], Awaitable[object]]]) -> Endpoints:
    """Changes all the time, and at some numbers something that happens to Redis."""
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
