"""Reads this process's status off its services and its supervision tree, as the heartbeat publishes it."""

from collections.abc import Callable
from urllib.parse import urlsplit

from airy import __version__, acls, topics
from airy.app.metrics_source import RebalanceCounter
from airy.app.services import Services
from airy.app.tree_status import TreeStatus, resident_bytes
from airy.config_secrets import secret_values
from airy.log import masker
from airy.model.process_status import ActorTree, ComponentStatus, ProcessStatus

REASONS_MAX = 16
REASON_CHARS_MAX = 300


class StatusReporter:
    """`url` returns the address of the process, or None until the server listens."""

    def __init__(self, services: Services, status: TreeStatus, *, host: str, url: Callable[[], str | None]) -> None:
        self._services = services
        self._status = status
        self._host = host
        self._url = url
        self._mask = masker(secret_values(services.config))
        self._instance: str | None = None  # stays the same if the server restarts on another port
        self._started_at_ms: int | None = None

    @property
    def instance(self) -> str | None:
        """The name of this process in the fleet; None before its first report."""
        return self._instance

    def __call__(self) -> ProcessStatus:
        monitor, now_ms, url = self._services.lag_monitor, self._services.ports.clock.now_ms(), self._url()
        if self._started_at_ms is None:
            self._started_at_ms = now_ms
        if self._instance is None:
            self._instance = f"{self._host}:{urlsplit(url).port}" if url else self._services.ports.ids.new()
        waiting = self._status.waiting_for()
        return ProcessStatus(
            instance=self._instance,
            url=url,
            version=__version__,
            started_at_ms=self._started_at_ms,
            at_ms=now_ms,
            heartbeat_interval_ms=round(self._services.config.status.heartbeat_interval_s * 1000),
            ready=not waiting,
            waiting_for={name: self._masked(reason) for name, reason in sorted(waiting.items())[:REASONS_MAX]},
            components=self._components(),
            memory_bytes=resident_bytes() or 0,
            fold_lag=monitor.fold_lag,
            fold_age_ms=round(monitor.fold_age_s * 1000),
            folded=tuple(self._services.projector.positions().get(tp, 0) for tp in topics.EVENTS.topic_partitions),
            caught_up=self._services.projector.caught_up,
            loop_delay_ms=round(monitor.loop_delay_s * 1000),
            stopping=self._status.stopping,
            tree=self._status.actors() if self._services.config.bus.kind == "kafka" else ActorTree(),
        )

    def _components(self) -> dict[str, ComponentStatus]:
        restarts, monitor, bus = self._status.restarts(), self._services.lag_monitor, self._services.ports.bus
        rebalances = bus.rebalances if isinstance(bus, RebalanceCounter) else {}
        found: dict[str, ComponentStatus] = {}
        for name, ready in sorted(self._status.ready().items()):
            groups = acls.groups(name) if name in acls.ACTORS else ()
            lags = [lag for (group, _), lag in monitor.lags.items() if group in groups]
            found[name] = ComponentStatus(
                ready=ready,
                restarts=sum(count for (component, _), count in restarts.items() if component == name),
                lag=sum(lags) if lags else None,
                rebalances=sum(rebalances.get(group, 0) for group in groups) if groups else None,
            )
        return found

    def _masked(self, reason: str) -> str:
        """A reason may quote an error, and an error may quote a secret."""
        return self._mask(reason)[:REASON_CHARS_MAX]
