"""`/metrics` in the Prometheus text format: samples are read from the parts of the process at each scrape.

No counters on a hot path and no global registry, so several applications in one process do not share metrics. Metric
names are a contract with operators: `DESCRIPTIONS` lists all of them, and tests compare it with the metrics of a
running system, with the alerts and with the dashboard.
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
from airy.http.route_description import DESCRIPTION, RouteDescription

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "airy_"
TOTAL = "_total"  # suffix of counters; a `LabelledHistograms` is a histogram, everything else a gauge

DESCRIPTIONS = {  # by name without the prefix; a counter starts at 0 with the process
    "actors": "leaves of the supervision tree",
    "bugs_total": "unexpected errors that ended one delivery, send, look-up, check or fetch; the log has each",
    "build_info": "1; version, and the components that run in this process",
    "changes": "changes the store keeps for their readers",
    "channel_checks_total": "checks of channels at their providers by what they found",
    "channels": "channels, connected or not",
    "component_processes_ready": "processes in which a component is ready; the same from every API process",
    "component_ready": "1 if every actor of a component is ready; `airy` stands for the actors of every process",
    "consumer_age_seconds": "age of the oldest record a consumer group has yet to commit; the same from each member",
    "consumer_lag": "offsets a consumer group has yet to commit, by topic; the same from each member",
    "contacts": "contacts, those that appeared by themselves included",
    "conversations": "listed conversations",
    "dead_deliveries": "webhook deliveries that were dead-lettered and can be replayed",
    "event_clients": "clients that follow events: websockets and streams",
    "event_clients_cut_total": "clients of events that were cut because they did not keep up",
    "event_clients_lagged_total": "times the queue of a client of events was full, so that it read the store instead",
    "event_loop_delay_seconds": "longest delay of the event loop in the last minute",
    "event_resyncs_total": "times a client of events could not continue at its position",
    "facts_total": "facts the fold accepted",
    "fold_age_seconds": "time since the oldest record that is not folded was appended",
    "fold_lag": "offsets of the log that this process has not folded",
    "fold_position": "sum of the next offsets to fold, by topic",
    "ingress_total": "requests of providers by their outcome at ingress, and the accepted bytes",
    "lag_measurement_age_seconds": "age of consumer lag, fold lag and fold age",
    "log_queries_failed_total": "failed queries of offsets for lag",
    "media_fetches_total": "attachments by what became of a fetch: stored, failed for good, or to be retried",
    "media_fetches_waiting": "attachments that are being fetched, or wait for it",
    "messages": "listed messages",
    "process_resident_memory_bytes": "resident memory of the process, by its components",
    "partitions_held": "partitions that are not folded any further: a record is newer than this process; by topic",
    "processes": "known processes of the installation; the same from every API process",
    "processes_stale": "known processes without a heartbeat for three intervals",
    "provider_webhooks_total": "provider webhooks by what the router did with them",
    "publish_seconds": "histogram: time until records were durable in the log, or the publish failed",
    "ready": "1 if this process is ready, as in /readyz",
    "rebalances_total": "times partitions of a consumer group were assigned to this process",
    "records_dead_lettered_total": "records of the log that could not be folded",
    "requests_rejected_total": "API requests that were answered with 429 (`rate_limited`), or with 503 (`shed`)",
    "responses_total": "HTTP responses of the API by status class, without probes",
    "restarts_total": "restarts of actors",
    "send_pending": "messages to send that wait or are in flight",
    "send_unknown": "messages to send whose response was lost",
    "store_caught_up": "1 if everything that was in the log at the start is folded",
    "webhook_queue_up": "1 if the webhook queue answered this scrape; else its metrics are the last known",
    "webhooks_delivered_total": "deliveries that an endpoint acknowledged",
    "webhooks_delivery_seconds": "histogram: age of a change, by its timestamp, when an endpoint acknowledged it",
    "webhooks_failed_attempts_total": "failed delivery attempts",
    "webhooks_leased": "deliveries in flight",
    "webhooks_oldest_age_seconds": "age of the oldest change that waits in the queue",
    "webhooks_waiting": "deliveries that wait in the queue",
    "webhooks_waiting_max": "capacity of the queue; further deliveries wait in the log",
}


class LabelledValues(Struct, frozen=True):
    """Numbers by the values of their labels."""

    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


class LabelledHistograms(Struct, frozen=True):
    """Histograms by the values of their labels."""

    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], Histogram]


Value = float | Mapping[str, float] | LabelledValues | LabelledHistograms
Samples = Mapping[str, Value]
"""By metric name. A mapping of numbers becomes one metric with the label `kind`."""


class SampleCollector:
    """The samples of one scrape, as a Prometheus collector."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        for name, value in sorted(self._samples.items()):
            base_name = name.removesuffix(TOTAL)
            if isinstance(value, LabelledHistograms):
                yield _histogram(name, value)
                continue
            family_type = CounterMetricFamily if name.endswith(TOTAL) else GaugeMetricFamily
            labelled = _labelled(value)
            description = DESCRIPTIONS.get(name, base_name.replace("_", " "))
            family = family_type(PREFIX + base_name, description, labels=labelled.labels)
            for labels, number in sorted(labelled.values.items()):
                family.add_metric(labels, number)
            yield family


def _histogram(name: str, value: LabelledHistograms) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, DESCRIPTIONS.get(name, name.replace("_", " ")), labels=value.labels)
    for labels, histogram in sorted(value.values.items()):
        bounds = (*map(repr, histogram.bounds_s), "+Inf")
        family.add_metric(labels, [*zip(bounds, accumulate(histogram.counts), strict=True)], histogram.sum_s)
    return family


def _labelled(value: float | Mapping[str, float] | LabelledValues) -> LabelledValues:
    if isinstance(value, LabelledValues):
        return value
    if isinstance(value, Mapping):
        return LabelledValues(("kind",), {(kind,): number for kind, number in value.items()})
    return LabelledValues((), {(): value})


def exposition(samples: Samples) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SampleCollector(samples))
    return generate_latest(registry)


def route(read: Callable[[], Awaitable[Samples]]) -> HTTPRouteHandler:
    described = RouteDescription(tag="health", responses={200: ("Prometheus text exposition.", "text/plain")})

    @get("/metrics", opt={PERMISSION: Permission.OPERATE, DESCRIPTION: described})
    async def metrics() -> ASGIResponse:
        """The metrics of this process."""
        return ASGIResponse(body=exposition(await read()), media_type=CONTENT_TYPE)

    return metrics
