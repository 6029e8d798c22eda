"""Delivery latency: observed once per delivery when it succeeds, from the change over all attempts."""

from airy.actors.change_sink import ReaderLimits
from airy.actors.delivery import DeliveryMetrics
from airy.actors.dispatcher import Dispatcher, DispatcherLimits
from airy.actors.publisher import Publisher
from airy.histogram import LONG_S, Histogram
from airy.queue.sqlite import SqliteQueue
from tests.kit.webhooks import SEALER, Endpoints, acting, answers, in_turn, logged, no_rebuild, refuses

HOUR_S = 3_600
BEFORE_MS = 4_000


async def test_latency_is_the_age_of_the_change_when_its_delivery_succeeds() -> None:
    latency, endpoints, queue = Histogram(LONG_S), Endpoints(), SqliteQueue()
    await queue.open()
    async with logged() as outbox:
        limits = ReaderLimits(idle_s=HOUR_S, commit_s=HOUR_S)
        publisher = Publisher(
            outbox.bus, outbox, outbox, queue, rebuild=no_rebuild, limits=limits, position_check_s=HOUR_S
        )
        dispatcher = Dispatcher(
            outbox.bus,
            outbox,
            outbox,
            queue,
            endpoints,
            sealer=SEALER,
            disable_webhook=outbox.disable_webhook,
            wait_for_arrival=queue.wait_for_arrival,
            limits=DispatcherLimits(poll_s=HOUR_S),
            metrics=DeliveryMetrics(latency=latency),
        )
        endpoints.behave("a", in_turn(refuses(), answers(200)))
        async with acting(publisher, dispatcher, clock=outbox.clock):
            await outbox.subscribes("a")
            await outbox.happens(at_ms=outbox.clock.now_ms() - BEFORE_MS)
            await endpoints.reached("a", 1, 10)
            assert sum(latency.counts) == 0, "the delivery failed"
            await endpoints.reached("a", 2, HOUR_S)
            (_, second) = endpoints.to("a")
            await outbox.happens(at_ms=outbox.clock.now_ms() + BEFORE_MS)
            await endpoints.reached("a", 3, 10)
    await queue.close()
    waited_s = second.at_s - endpoints.requests[0].at_s
    assert waited_s > 1
    assert sum(latency.counts) == 2
    assert abs(latency.sum_s - (waited_s + BEFORE_MS / 1000)) < 1, "a change from the future has no latency"
