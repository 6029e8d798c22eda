"""The status of an installation, as a document and as text.

Queries one process, which reports all processes from the registry if it runs the API; or queries several processes
directly, which needs no log and shows all of their metrics.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import anyio
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from airy.api_client import ApiClient
from airy.errors import Refused, Unavailable
from airy.tui.poll import Readiness, parse_metrics

MIB = 1_048_576
HEADINGS = ("PROCESS", "COMPONENT", "STATE", "RESTARTS", "LAG", "REBALANCES", "MEMORY")
TEXT_COLUMNS = 3  # the other columns are numbers, right-aligned

Report = dict[str, Any]
Numbers = Mapping[tuple[str, ...], float]


class ServiceList(Struct, frozen=True):
    services: dict[str, dict[str, Any]] = {}


class FleetReport(Struct, frozen=True):
    """The response of `/processes.list`: all known processes, and counts by component."""

    data: list[Report]
    components: dict[str, dict[str, int]]

    @property
    def not_ready(self) -> list[str]:
        return [name for name, count in self.components.items() if not count["ready"]]


class Status(Struct, frozen=True):
    """`ready`: the queried processes, and at least one process of every component."""

    document: Report
    text: str
    ready: bool


async def read_status(clients: Sequence[ApiClient]) -> Status:
    """A single instance that is down raises."""
    if len(clients) > 1:
        reports = await read_reports(clients)
        ready = all(report["ready"] for report in reports)
        return Status({"ready": ready, "processes": reports}, format_processes(reports), ready)
    report, fleet = await read_report(clients[0]), await read_fleet(clients[0])
    if fleet is None:
        return Status(report, format_processes([report]), report["ready"])
    ready = report["ready"] and not fleet.not_ready
    whole = {"ready": ready, "processes": fleet.data, "component_processes": fleet.components}
    return Status(report | whole, format_fleet(report, fleet), ready)


async def read_fleet(client: ApiClient) -> FleetReport | None:
    """None if the process cannot report: it lacks the API, is of an older version, or still folds the log."""
    try:
        return await client.call("/processes.list", {}, FleetReport)
    except (Refused, Unavailable):
        return None


async def read_reports(clients: Sequence[ApiClient]) -> list[Report]:
    """Concurrently; an instance that does not respond gets a report with its error."""
    reports: dict[int, Report] = {}

    async def one(number: int, client: ApiClient) -> None:
        try:
            reports[number] = await read_report(client)
        except (Unavailable, Refused) as error:
            reports[number] = {"url": client.url, "ready": False, "error": str(error)}

    async with anyio.create_task_group() as tasks:
        for number, client in enumerate(clients):
            tasks.start_soon(one, number, client)
    return [reports[number] for number in range(len(clients))]


async def read_report(client: ApiClient) -> Report:
    ready = await client.get("/readyz", Readiness, may_fail=True)
    text = await client.text("/metrics")
    return {
        "url": client.url,
        "ready": ready.ready,
        "waiting_for": ready.waiting_for,
        "services": (await _services(client)).services,
        "counts": dict(parse_metrics(text)),
        **parse_process(text),
    }


async def _services(client: ApiClient) -> ServiceList:
    """The services of `/client.config`; none if the process lacks the API."""
    try:
        return await client.call("/client.config", {}, ServiceList)
    except Refused:
        return ServiceList()


# --- a process, from its metrics


def parse_process(text: str) -> Report:
    numbers: dict[str, dict[tuple[str, ...], float]] = {}
    for sample in _samples(text):
        labels = tuple(value for _, value in sorted(sample.labels.items()))
        numbers.setdefault(sample.name.removeprefix("airy_"), {})[labels] = sample.value

    def of(name: str) -> Numbers:
        return numbers.get(name, {})

    def one(name: str) -> float:
        return of(name).get((), 0.0)

    return {
        "version": next((version for _, _, version in of("build_info")), ""),
        "components": _components(
            of("component_ready"), of("restarts_total"), of("consumer_lag"), of("rebalances_total")
        ),
        "memory_bytes": sum(of("process_resident_memory_bytes").values()),
        "event_loop_delay_s": one("event_loop_delay_seconds"),
        "fold": {
            "position": sum(of("fold_position").values()),
            "lag": one("fold_lag"),
            "age_s": one("fold_age_seconds"),
            "caught_up": bool(one("store_caught_up")),
        },
        "lag": {f"{group} {topic}": value for (group, topic), value in of("consumer_lag").items()},
        "queue": {
            "up": bool(one("webhook_queue_up")),
            "waiting": one("webhooks_waiting"),
            "leased": one("webhooks_leased"),
            "waiting_max": one("webhooks_waiting_max"),
            "dead": one("dead_deliveries"),
            "oldest_s": one("webhooks_oldest_age_seconds"),
        },
    }


def _samples(text: str) -> list[Sample]:
    try:
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError as error:
        raise Refused(f"/metrics returned invalid metrics: {error}") from error


def _components(ready: Numbers, restarts: Numbers, lags: Numbers, rebalances: Numbers) -> dict[str, Report]:
    """By name. `lag` and `rebalances` are None for a component without consumer groups."""
    found: dict[str, Report] = {}
    for (name,), is_ready in ready.items():
        lag = [value for (group, _), value in lags.items() if _belongs(group, name)]
        counts = [value for (group,), value in rebalances.items() if _belongs(group, name)]
        found[name] = {
            "ready": bool(is_ready),
            "restarts": sum(value for (_, component), value in restarts.items() if component == name),
            "lag": sum(lag) if lag else None,
            "rebalances": sum(counts) if counts else None,
        }
    return found


def _belongs(group: str, component: str) -> bool:
    """A group is named after its component, with a dot for the first dash, and may have a suffix."""
    return group == component or group.startswith(component.replace("-", ".", 1) + ".")


# --- as text


def format_processes(reports: Sequence[Report]) -> str:
    """A table with a row per component and process; then waiting reasons, stores and the queue."""
    lines = _table_of(reports, ready=all(report["ready"] for report in reports))
    for report in reports:
        if "error" in report:
            lines.append(f"{_host(report)} does not respond: {report['error']}")
        lines += _waits(report)
    answered = [report for report in reports if "error" not in report]
    lines += [_fold(report) for report in answered]
    queues = [report["queue"] for report in answered if report["queue"]["up"]] or [r["queue"] for r in answered]
    lines += [_queue(queue) for queue in queues[:1]]
    return "\n".join(lines)


def format_fleet(own: Report, fleet: FleetReport) -> str:
    """Processes from the registry; stale ones show their last report. `own`: the report of the queried process."""
    lines = _table_of(fleet.data, ready=own["ready"] and not fleet.not_ready)
    lines += [f"no ready process runs {name}" for name in fleet.not_ready]
    live = [report for report in fleet.data if not report["stale"]]
    waits = [line for report in live for line in _waits(report)]
    lines += waits or _waits(own)  # it is newer than its heartbeat
    return "\n".join([*lines, *(_fold(report) for report in live), _queue(own["queue"])])


def _table_of(reports: Sequence[Report], *, ready: bool) -> list[str]:
    versions = ", ".join(sorted({report["version"] for report in reports if report.get("version")}))
    lines = [f"{f'Airy {versions}'.strip()}: {'ready' if ready else 'not ready'}", ""]
    return [*lines, *_table([row for report in reports for row in _rows(report)]), ""]


def _waits(report: Report) -> list[str]:
    return [f"{_host(report)} waits for {name}: {why}" for name, why in report.get("waiting_for", {}).items()]


def _rows(report: Report) -> list[tuple[str, ...]]:
    if "error" in report:
        return [(_host(report), "-", "unreachable", "-", "-", "-", "-")]
    memory = f"{report['memory_bytes'] / MIB:.0f} MiB"
    rows: list[tuple[str, ...]] = []
    for name, component in sorted(report["components"].items()):
        numbers = (component["restarts"], component["lag"], component["rebalances"])
        state = _stale_text(report) or ("ready" if component["ready"] else "not ready")
        first = not rows
        rows.append(
            (
                _host(report) if first else "",
                name,
                state,
                *("-" if each is None else f"{each:.0f}" for each in numbers),
                memory if first else "",
            )
        )
    state = _stale_text(report) or ("ready" if report["ready"] else "not ready")
    return rows or [(_host(report), "-", state, "-", "-", "-", memory)]


def _stale_text(report: Report) -> str:
    return f"stale for {report['age_s']:.0f} s" if report.get("stale") else ""


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [HEADINGS, *rows]
    wide = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return [
        "  ".join(
            f"{cell:<{wide[column]}}" if column < TEXT_COLUMNS else f"{cell:>{wide[column]}}"
            for column, cell in enumerate(line)
        ).rstrip()
        for line in lines
    ]


def _fold(report: Report) -> str:
    fold = report["fold"]
    place = f"at {fold['position']:.0f}, " if "position" in fold else ""
    state = "" if fold["caught_up"] else ", still catching up"
    return f"store of {_host(report)}: {place}{fold['lag']:.0f} behind ({fold['age_s']:.1f} s){state}"


def _queue(queue: Report) -> str:
    state = "" if queue["up"] else " (it does not respond: these are the latest known)"
    return (
        f"webhook queue: {queue['waiting']:.0f} of {queue['waiting_max']:.0f} waiting, {queue['leased']:.0f} under way,"
        f" {queue['dead']:.0f} dead, oldest {queue['oldest_s']:.1f} s{state}"
    )


def _host(report: Report) -> str:
    return str(report.get("instance") or str(report["url"]).partition("://")[2].rstrip("/"))
