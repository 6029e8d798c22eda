"""How late webhooks are: counted once for each delivery when an endpoint took it, from the change over all attempts."""

from airy.actors.webhooks.dispatcher import Dispatcher
from airy.actors.webhooks.publisher import Publisher
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.histogram import LONG_S, Histogram
from tests.kit.webhooks import SEALER, Endpoints, acting, answers, in_turn, logged, refuses

HOUR_S = 3_600
BEFORE_MS = 4_000


async def test_a_delivery_is_as_late_as_its_change_is_old_when_it_is_taken() -> None:
    lateness, endpoints, queue = Histogram(LONG_S), Endpoints(), SqliteQueue()
    await queue.open()
    async with logged() as outbox:
        publisher = Publisher(outbox.bus, outbox, outbox, queue, idle_s=HOUR_S, audit_s=HOUR_S, commit_s=HOUR_S)
        dispatcher = Dispatcher(
            outbox.bus,
            outbox,
            outbox,
            queue,
            endpoints,
            sealer=SEALER,
            switch_off=outbox.switch_off,
            arrived=queue.arrived,
            poll_s=HOUR_S,
            lateness=lateness,
        )
        endpoints.behave("a", in_turn(refuses(), answers(200)))
        async with acting(publisher, dispatcher, clock=outbox.clock):
            await outbox.subscribes("a")
            await outbox.happens(at_ms=outbox.clock.now_ms() - BEFORE_MS)
            await endpoints.reached("a", 1, 10)
            assert sum(lateness.counts) == 0, "it was not taken"
            await endpoints.reached("a", 2, HOUR_S)
            (_, second) = endpoints.to("a")
            await outbox.happens(at_ms=outbox.clock.now_ms() + BEFORE_MS)
            await endpoints.reached("a", 3, 10)
    await queue.close()
    waited_s = second.at_s - endpoints.requests[0].at_s
    assert waited_s > 1
    assert sum(lateness.counts) == 2
    assert abs(lateness.sum_s - (waited_s + BEFORE_MS / 1000)) < 1, "what is from the future is not late"
