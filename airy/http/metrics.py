"""`/metrics` in Prometheus' format: numbers others count anyway, read when asked for.

No counters of its own on any hot path and no global registry, so two edges in one process do not mix. What each number
means is a contract with whoever watches: `MEANING` lists them, and tests compare it with what a running system shows,
with the alerts and with the dashboard.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import accumulate

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from airy.histogram import Histogram
from airy.http.auth import PERMISSION, Permission

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "airy_"
TOTAL = "_total"  # names that end so are counters; what is a `Measured` is a histogram, and all others gauges

MEANING = {  # name without its prefix; a counter starts at 0 with the process
    "actors": "leaves of the supervision tree",
    "build_info": "1; version, and the components that run in this process",
    "changes": "changes that are kept for those who act on them",
    "channels": "channels, connected or not",
    "component_processes_ready": "processes in which a component is known to be ready; each with the API tells all",
    "component_ready": "1 if every actor of a component is ready; `airy` are those that every process has",
    "consumer_lag": "offsets a consumer group has yet to commit, by topic; the same from each of its members",
    "conversations": "conversations that are listed",
    "event_loop_delay_seconds": "how late the event loop was, at worst in the last minute",
    "facts_total": "facts the fold accepted",
    "fold_age_seconds": "how long the oldest record that is not folded has been in the log",
    "fold_lag": "offsets of the log that are not folded here",
    "fold_position": "sum of the next offsets to fold, by topic",
    "ingress_total": "provider webhooks by what became of them at the door",
    "log_questions_failed_total": "questions about lag that the log did not answer",
    "log_reading_age_seconds": "how old lag, fold lag and fold age are",
    "messages": "messages that are listed",
    "process_resident_memory_bytes": "memory of the process, by the components in it",
    "processes": "processes of the installation that are known; each with the API tells the same",
    "processes_silent": "those of them that have said nothing for three beats",
    "provider_webhooks_total": "provider webhooks by what became of them behind the door",
    "publish_seconds": "histogram: how long it took until what was appended to the log was durable, or given up",
    "ready": "1 if this process is ready, as /readyz says",
    "rebalances_total": "times partitions of a consumer group were dealt out to this process",
    "records_dead_lettered_total": "records of the log that could not be folded",
    "responses_total": "HTTP answers of the API by class of status; probes are not counted",
    "restarts_total": "restarts of actors",
    "send_pending": "messages to send that wait, or are under way",
    "send_unknown": "messages to send whose answer was lost",
    "store_caught_up": "1 if everything that was in the log at the start is folded",
    "webhook_queue_up": "1 if the webhook queue answered this scrape; else its numbers are the latest known",
    "webhooks_dead": "deliveries that were given up and can be replayed",
    "webhooks_delivered_total": "deliveries that an endpoint took",
    "webhooks_delivery_seconds": "histogram: how old a change was, by its timestamp, when an endpoint took it",
    "webhooks_failed_attempts_total": "attempts to deliver that failed",
    "webhooks_leased": "deliveries under way",
    "webhooks_oldest_age_seconds": "age of the oldest change that waits in the queue",
    "webhooks_waiting": "deliveries that wait in the queue",
    "webhooks_waiting_max": "what the queue may hold; above it the log holds the rest",
}


class Labelled(Struct, frozen=True):
    """Values by their labels."""

    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


class Measured(Struct, frozen=True):
    """Histograms by their labels."""

    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], Histogram]


Value = float | Mapping[str, float] | Labelled | Measured
Samples = Mapping[str, Value]
"""Values by name; a mapping holds one value for each `what`."""


class Collector:
    """One scrape's samples, for a registry of its own."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        for name, value in sorted(self._samples.items()):
            bare = name.removesuffix(TOTAL)
            if isinstance(value, Measured):
                yield _histogram(name, value)
                continue
            kind = CounterMetricFamily if name.endswith(TOTAL) else GaugeMetricFamily
            found = _labelled(value)
            family = kind(PREFIX + bare, MEANING.get(name, bare.replace("_", " ")), labels=found.labels)
            for labels, number in sorted(found.values.items()):
                family.add_metric(labels, number)
            yield family


def _histogram(name: str, value: Measured) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, MEANING.get(name, name.replace("_", " ")), labels=value.labels)
    for labels, histogram in sorted(value.values.items()):
        bounds = (*map(repr, histogram.bounds_s), "+Inf")
        family.add_metric(labels, [*zip(bounds, accumulate(histogram.counts), strict=True)], histogram.sum_s)
    return family


def _labelled(value: float | Mapping[str, float] | Labelled) -> Labelled:
    if isinstance(value, Labelled):
        return value
    if isinstance(value, Mapping):
        return Labelled(("what",), {(what,): number for what, number in value.items()})
    return Labelled((), {(): value})


def exposition(samples: Samples) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(samples))
    return generate_latest(registry)


def route(read: Callable[[], Awaitable[Samples]]) -> HTTPRouteHandler:
    @get("/metrics", opt={PERMISSION: Permission.OPERATE})
    async def metrics() -> ASGIResponse:
        """Everything that is counted or measured here."""
        return ASGIResponse(body=exposition(await read()), media_type=CONTENT_TYPE)

    return metrics
