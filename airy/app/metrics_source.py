"""Collects the values of `/metrics` at each scrape; `airy.http.metrics` describes them.

A scrape takes bounded time, whatever is unavailable: the lag monitor queries the log beforehand, and a queue that does
not respond leaves its latest numbers with `webhook_queue_up` 0.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, runtime_checkable

import anyio

from airy import topics
from airy.actors.bug_report import BUG_KINDS
from airy.actors.channel_checks import OUTCOMES as CHECK_OUTCOMES
from airy.app.services import Services
from airy.bus.record import TopicPartition
from airy.errors import Unavailable
from airy.histogram import SHORT_S, Histogram, sum_of
from airy.http.app import RootAsgiApp
from airy.http.ingress import Ingress
from airy.http.metrics import LabelledHistograms, LabelledValues, Samples, Value
from airy.queue.api import QueueStats

QUEUE_S = 1.0  # time-out of the queue's statistics
OUTCOMES = ("routed", "parked", "replayed", "dead_lettered", "noted")  # exported from 0 on: a rate needs a first sample
FETCHED = ("stored", "retried", "failed")
NO_STATS = QueueStats(0, 0, None)


@runtime_checkable
class AppendTimer(Protocol):
    """A bus that measures publish latency by topic."""

    @property
    def appends(self) -> Mapping[str, Histogram]: ...


@runtime_checkable
class RebalanceCounter(Protocol):
    """A bus that counts rebalances by consumer group."""

    @property
    def rebalances(self) -> Counter[str]: ...


class MetricsSource:
    """Without HTTP metrics until `attach` is called."""

    def __init__(self, services: Services) -> None:
        self._app: RootAsgiApp | None = None
        self._ingresses: list[Ingress] = []
        self._services = services
        self._stats = NO_STATS
        self.totals: Mapping[str, Callable[[], float]] = {"facts_total": lambda: services.projector.facts}
        self.counters: Callable[[], Samples] = dict

    def attach(self, app: RootAsgiApp, ingresses: list[Ingress]) -> None:
        self._app, self._ingresses = app, ingresses

    async def read(self) -> Samples:
        services, counters = self._services, self._services.counters
        counts = await services.ports.store.counts()
        values: dict[str, Value] = {
            **{name: float(value) for name, value in counts.items()},
            "bugs_total": {kind: float((counters.bugs + counters.deliveries.bugs)[kind]) for kind in BUG_KINDS},
            **self.counters(),
            **self._log(),
            **await self._queue(),
            "provider_webhooks_total": {
                name: float(counters.provider_webhooks[name]) for name in (*OUTCOMES, *counters.provider_webhooks)
            },
            **self._events(),
            "channel_checks_total": {name: float(counters.channel_checks[name]) for name in CHECK_OUTCOMES},
            "media_fetches_total": {name: float(counters.media_fetches[name]) for name in FETCHED},
            "media_fetches_waiting": float(counters.media_fetches["waiting"]),
            "records_dead_lettered_total": float(services.projector.unprocessable),
            "store_caught_up": float(services.projector.caught_up),
            "webhooks_delivered_total": float(counters.deliveries.attempts["delivered"]),
            "webhooks_delivery_seconds": LabelledHistograms((), {(): counters.deliveries.latency}),
            "webhooks_failed_attempts_total": float(counters.deliveries.attempts["failed"]),
        }
        if self._app is not None:
            values["responses_total"] = dict(self._app.responses)
            values["requests_rejected_total"] = self._app.rejected
            values["ingress_total"] = self._ingress_totals()
        return values

    def _log(self) -> dict[str, Value]:
        """The lag of this process, as measured last."""
        monitor = self._services.lag_monitor
        positions: Counter[tuple[str, ...]] = Counter()
        for tp, offset in self._services.projector.positions().items():
            positions[tp.topic,] += offset
        values: dict[str, Value] = {
            "consumer_age_seconds": LabelledValues(
                ("group",), {(group,): age_s for group, age_s in monitor.group_ages_s().items()}
            ),
            "consumer_lag": LabelledValues(("group", "topic"), monitor.lags),
            "event_loop_delay_seconds": monitor.loop_delay_s,
            "fold_age_seconds": monitor.fold_age_s,
            "fold_lag": float(monitor.fold_lag),
            "fold_position": LabelledValues(("topic",), positions),
            "log_queries_failed_total": float(monitor.failures),
            "partitions_held": LabelledValues(("topic",), _held_by_topic(self._services.projector.held)),
        }
        if monitor.measurement_age_s is not None:
            values["lag_measurement_age_seconds"] = monitor.measurement_age_s
        bus = self._services.ports.bus
        if isinstance(bus, RebalanceCounter):
            values["rebalances_total"] = LabelledValues(
                ("group",), {(group,): n for group, n in bus.rebalances.items()}
            )
        if isinstance(bus, AppendTimer):
            values["publish_seconds"] = LabelledHistograms(("kind",), _by_kind(bus.appends))
        return values

    async def _queue(self) -> dict[str, Value]:
        services, answered = self._services, False
        with anyio.move_on_after(QUEUE_S):
            try:
                self._stats = await services.ports.queue.stats()
                answered = True
            except Unavailable:
                pass  # exported as `webhook_queue_up`; the actors that use the queue log it
        stats = self._stats
        age_ms = max(0, services.ports.clock.now_ms() - stats.oldest_at_ms) if stats.oldest_at_ms else 0
        return {
            "webhook_queue_up": float(answered),
            "webhooks_waiting": float(stats.waiting),
            "webhooks_waiting_max": float(services.config.queue.jobs_max),
            "webhooks_leased": float(stats.leased),
            "webhooks_oldest_age_seconds": age_ms / 1000,
        }

    def _events(self) -> dict[str, Value]:
        changes = self._services.changes
        return {
            "event_clients": float(changes.subscriptions),
            "event_clients_cut_total": float(changes.cut),
            "event_clients_lagged_total": float(changes.lagged),
            "event_resyncs_total": float(changes.resynced),
        }

    def _ingress_totals(self) -> dict[str, float]:
        totals: dict[str, float] = {}
        for ingress in self._ingresses:
            for name in ingress.counters.__slots__:
                totals[name] = totals.get(name, 0.0) + getattr(ingress.counters, name)
        return totals


def _held_by_topic(held: Iterable[TopicPartition]) -> dict[tuple[str, ...], float]:
    """Exported from 0 on: an alert needs the metric before it fires."""
    counts = Counter(tp.topic for tp in held)
    return {(topic.name,): float(counts[topic.name]) for topic in topics.FOLDED}


def _by_kind(appends: Mapping[str, Histogram]) -> dict[tuple[str, ...], Histogram]:
    """Publish latency by kind of topic: provider webhooks, facts, other. Exported from 0 on."""
    return {
        (kind,): sum_of((each for topic, each in appends.items() if _KINDS.get(topic, "other") == kind), SHORT_S)
        for kind in ("ingress", "facts", "other")
    }


_KINDS = {topics.EVENTS.name: "facts", **{topics.source_events(name).name: "ingress" for name in topics.SOURCE_NAMES}}
