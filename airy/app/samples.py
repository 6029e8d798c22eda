"""What `/metrics` shows: numbers that are counted anyway, read when somebody asks."""

from collections.abc import Callable, Mapping

from airy.app.parts import Parts
from airy.http.app import Front
from airy.http.ingress import Ingress
from airy.http.metrics import Samples as Values

PAGE_BYTES = 4096
STATM = "/proc/self/statm"  # Linux; elsewhere the sample is left out


class Samples:
    """Of the edge nothing is known until `watch` was called."""

    def __init__(self, parts: Parts) -> None:
        self._front: Front | None = None
        self._ingresses: list[Ingress] = []
        self._parts = parts
        self.totals: Mapping[str, Callable[[], float]] = {"facts_total": lambda: parts.follower.facts}
        self.counters: Callable[[], Mapping[str, float]] = dict

    def watch(self, front: Front, ingresses: list[Ingress]) -> None:
        self._front, self._ingresses = front, ingresses

    async def read(self) -> Values:
        parts = self._parts
        counts = await parts.store.counts()
        queue = await parts.queue.stats()
        now_ms = parts.clock.now_ms()
        values: dict[str, float | Mapping[str, float]] = {
            **{name: float(value) for name, value in counts.items()},
            **self.counters(),
            "provider_webhooks_total": {name: float(value) for name, value in parts.counts.items()},
            "store_caught_up": float(parts.follower.caught_up),
            "webhooks_delivered_total": float(parts.deliveries["delivered"]),
            "webhooks_failed_attempts_total": float(parts.deliveries["failed"]),
            "webhooks_waiting": float(queue.waiting),
            "webhooks_leased": float(queue.leased),
            "webhooks_dead": float(queue.dead),
            "webhooks_oldest_age_seconds": max(0, now_ms - queue.oldest_at_ms) / 1000 if queue.oldest_at_ms else 0.0,
        }
        if self._front is not None:
            values["responses_total"] = dict(self._front.responses)
            values["ingress_total"] = self._ingress()
        resident = resident_bytes()
        if resident is not None:
            values["process_resident_memory_bytes"] = float(resident)
        return values

    def _ingress(self) -> dict[str, float]:
        totals: dict[str, float] = {}
        for ingress in self._ingresses:
            for name in ingress.counts.__slots__:
                totals[name] = totals.get(name, 0.0) + getattr(ingress.counts, name)
        return totals


def resident_bytes() -> int | None:
    try:
        with open(STATM, encoding="ascii") as file:  # noqa: PTH123 - a line of the kernel's, not a file to manage
            return int(file.read().split()[1]) * PAGE_BYTES
    except OSError:
        return None
