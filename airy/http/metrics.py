"""`/metrics` in Prometheus' format: numbers others count anyway, read when asked for.

No counters of its own on any hot path and no global registry, so two edges in one process do not mix.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from airy.http.auth import PERMISSION, Permission

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TOTAL = "_total"  # names that end so are counters, all others gauges

Samples = Mapping[str, float | Mapping[str, float]]
"""Values by name; a mapping holds one value for each `what`."""


class Collector:
    """One scrape's samples, for a registry of its own."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        for name, value in sorted(self._samples.items()):
            full = f"airy_{name.removesuffix(TOTAL)}"
            help_text = name.removesuffix(TOTAL).replace("_", " ")
            kind = CounterMetricFamily if name.endswith(TOTAL) else GaugeMetricFamily
            if isinstance(value, Mapping):
                family = kind(full, help_text, labels=["what"])
                for what, number in sorted(value.items()):
                    family.add_metric([what], number)
            else:
                family = kind(full, help_text, value=value)
            yield family


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
