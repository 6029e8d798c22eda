"""What `/metrics` shows: numbers that are counted anyway, read when somebody asks; what they mean is in
`airy.http.metrics`.

A scrape is answered in bounded time, whatever is away: the log was asked by the watch, and a queue that does not answer
leaves its latest numbers and `webhook_queue_up` 0.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import anyio

from airy import topics
from airy.actors.webhooks.queue import QueueStats
from airy.app.parts import Parts
from airy.errors import Unavailable
from airy.histogram import SHORT_S, Histogram, sum_of
from airy.http.app import Front
from airy.http.ingress import Ingress
from airy.http.metrics import Labelled, Measured, Value
from airy.http.metrics import Samples as Values

QUEUE_S = 1.0  # for the queue's answer
FATES = ("routed", "parked", "unparked", "dead_lettered")  # shown from 0 on: a monitor cannot see a counter appear
NO_STATS = QueueStats(0, 0, None)


@runtime_checkable
class Timed(Protocol):
    """A bus that knows, by topic, how long it took to publish."""

    @property
    def appends(self) -> Mapping[str, Histogram]: ...


@runtime_checkable
class Rebalancing(Protocol):
    """A bus that counts, by consumer group, how often partitions were dealt out."""

    @property
    def rebalances(self) -> Counter[str]: ...


class Samples:
    """Of the edge nothing is known until `watch` was called."""

    def __init__(self, parts: Parts) -> None:
        self._front: Front | None = None
        self._ingresses: list[Ingress] = []
        self._parts = parts
        self._stats = NO_STATS
        self.totals: Mapping[str, Callable[[], float]] = {"facts_total": lambda: parts.follower.facts}
        self.counters: Callable[[], Values] = dict

    def watch(self, front: Front, ingresses: list[Ingress]) -> None:
        self._front, self._ingresses = front, ingresses

    async def read(self) -> Values:
        parts = self._parts
        counts = await parts.store.counts()
        values: dict[str, Value] = {
            **{name: float(value) for name, value in counts.items()},
            **self.counters(),
            **self._log(),
            **await self._queue(),
            "provider_webhooks_total": {name: float(parts.counts[name]) for name in (*FATES, *parts.counts)},
            "records_dead_lettered_total": float(parts.follower.bad),
            "store_caught_up": float(parts.follower.caught_up),
            "webhooks_delivered_total": float(parts.deliveries["delivered"]),
            "webhooks_delivery_seconds": Measured((), {(): parts.lateness}),
            "webhooks_failed_attempts_total": float(parts.deliveries["failed"]),
        }
        if self._front is not None:
            values["responses_total"] = dict(self._front.responses)
            values["ingress_total"] = self._ingress()
        return values

    def _log(self) -> dict[str, Value]:
        """How far behind the log this process is, as learned last."""
        watch = self._parts.watch
        positions: Counter[tuple[str, ...]] = Counter()
        for where, offset in self._parts.follower.positions().items():
            positions[where.topic,] += offset
        values: dict[str, Value] = {
            "consumer_lag": Labelled(("group", "topic"), watch.lags),
            "event_loop_delay_seconds": watch.loop_delay_s,
            "fold_age_seconds": watch.fold_age_s,
            "fold_lag": float(watch.fold_lag),
            "fold_position": Labelled(("topic",), positions),
            "log_questions_failed_total": float(watch.failures),
        }
        if watch.reading_age_s is not None:
            values["log_reading_age_seconds"] = watch.reading_age_s
        bus = self._parts.bus
        if isinstance(bus, Rebalancing):
            values["rebalances_total"] = Labelled(("group",), {(group,): n for group, n in bus.rebalances.items()})
        if isinstance(bus, Timed):
            values["publish_seconds"] = Measured(("what",), _by_what(bus.appends))
        return values

    async def _queue(self) -> dict[str, Value]:
        parts, answered = self._parts, False
        with anyio.move_on_after(QUEUE_S):
            try:
                self._stats = await parts.queue.stats()
                answered = True
            except Unavailable:
                pass  # said by `webhook_queue_up`; whoever works with the queue logs it
        stats = self._stats
        age_ms = max(0, parts.clock.now_ms() - stats.oldest_at_ms) if stats.oldest_at_ms else 0
        return {
            "webhook_queue_up": float(answered),
            "webhooks_waiting": float(stats.waiting),
            "webhooks_waiting_max": float(parts.config.queue.jobs_max),
            "webhooks_leased": float(stats.leased),
            "webhooks_oldest_age_seconds": age_ms / 1000,
        }

    def _ingress(self) -> dict[str, float]:
        totals: dict[str, float] = {}
        for ingress in self._ingresses:
            for name in ingress.counts.__slots__:
                totals[name] = totals.get(name, 0.0) + getattr(ingress.counts, name)
        return totals


def _by_what(appends: Mapping[str, Histogram]) -> dict[tuple[str, ...], Histogram]:
    """What is appended to a topic: provider webhooks, facts, or something else. Shown from 0 on."""
    return {
        (what,): sum_of((each for topic, each in appends.items() if _WHAT.get(topic, "other") == what), SHORT_S)
        for what in ("ingress", "facts", "other")
    }


_WHAT = {topics.EVENTS.name: "facts", **{topics.source_events(name).name: "ingress" for name in topics.SOURCES}}
