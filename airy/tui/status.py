"""`airy status`: one look at an installation, for people or for programs.

One process is asked, and answers for all where it has the API: what each of them said in the log. Or each of several is
asked itself, which needs no log and shows its every number.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

import anyio
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from airy.client import Client
from airy.config import TOKEN_FILE, Config, data_directory, read_token
from airy.errors import Refused, Unavailable
from airy.fetch_aiohttp import AiohttpFetch
from airy.secret import Secret
from airy.tui.live import ANYWHERE
from airy.tui.poll import Ready, parse_metrics

OK = 0
NOT_READY = 75
DEMO = "demo"  # where `airy demo` keeps its data, below the configured directory
MIB = 1_048_576
HEADINGS = ("PROCESS", "COMPONENT", "STATE", "RESTARTS", "LAG", "REBALANCES", "MEMORY")
TEXT_COLUMNS = 3  # the others are numbers

Instance = tuple[str, Secret | None]
Report = dict[str, Any]
Numbers = Mapping[tuple[str, ...], float]


class Services(Struct, frozen=True):
    services: dict[str, dict[str, Any]] = {}


class Fleet(Struct, frozen=True):
    """Every process the asked one knows of, and of each component in how many it is ready."""

    data: list[Report]
    components: dict[str, dict[str, int]]

    @property
    def away(self) -> list[str]:
        return [name for name, share in self.components.items() if not share["ready"]]


async def show(where: Sequence[Instance], as_json: bool, out: TextIO | None = None) -> int:
    """Print how these are; the exit code says whether all is ready. One alone that is away raises."""
    async with AiohttpFetch(ANYWHERE) as fetch:
        clients = [Client(fetch, url, token) for url, token in where]
        text, ready = await look(clients, as_json)
    (out or sys.stdout).write(text + "\n")
    return OK if ready else NOT_READY


async def look(clients: Sequence[Client], as_json: bool) -> tuple[str, bool]:
    """What is to be printed, and whether all is ready: the asked processes, and of every component at least one."""
    if len(clients) > 1:
        reports = await ask_all(clients)
        ready = all(report["ready"] for report in reports)
        return _json({"ready": ready, "processes": reports}) if as_json else words(reports), ready
    report, fleet = await ask(clients[0]), await ask_for_all(clients[0])
    if fleet is None:
        return _json(report) if as_json else words([report]), report["ready"]
    ready = report["ready"] and not fleet.away
    if as_json:
        whole = {"ready": ready, "processes": fleet.data, "component_processes": fleet.components}
        return _json(report | whole), ready
    return fleet_words(report, fleet), ready


async def ask_for_all(client: Client) -> Fleet | None:
    """None where nobody can say: a process without the API, of an older version, or one that still folds the log."""
    try:
        return await client.call("/processes.list", {}, Fleet)
    except (Refused, Unavailable):
        return None


async def ask_all(clients: Sequence[Client]) -> list[Report]:
    """At the same time; one that does not answer is a report that says so."""
    reports: dict[int, Report] = {}

    async def one(number: int, client: Client) -> None:
        try:
            reports[number] = await ask(client)
        except (Unavailable, Refused) as error:
            reports[number] = {"url": client.url, "ready": False, "error": str(error)}

    async with anyio.create_task_group() as tasks:
        for number, client in enumerate(clients):
            tasks.start_soon(one, number, client)
    return [reports[number] for number in range(len(clients))]


async def ask(client: Client) -> Report:
    ready = await client.get("/readyz", Ready, may_fail=True)
    text = await client.text("/metrics")
    return {
        "url": client.url,
        "ready": ready.ready,
        "waiting_for": ready.waiting_for,
        "services": (await _services(client)).services,
        "counts": dict(parse_metrics(text)),
        **process(text),
    }


async def _services(client: Client) -> Services:
    """What an API process says of all components; a process without the API has no such page."""
    try:
        return await client.call("/client.config", {}, Services)
    except Refused:
        return Services()


# --- one process, from its metrics


def process(text: str) -> Report:
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
            "dead": one("webhooks_dead"),
            "oldest_s": one("webhooks_oldest_age_seconds"),
        },
    }


def _samples(text: str) -> list[Sample]:
    try:
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError as error:
        raise Refused(f"/metrics did not answer what it should: {error}") from error


def _components(ready: Numbers, restarts: Numbers, lags: Numbers, rebalances: Numbers) -> dict[str, Report]:
    """By name. A component without consumer groups has neither lag nor rebalances."""
    found: dict[str, Report] = {}
    for (name,), well in ready.items():
        lag = [value for (group, _), value in lags.items() if _belongs(group, name)]
        dealt = [value for (group,), value in rebalances.items() if _belongs(group, name)]
        found[name] = {
            "ready": bool(well),
            "restarts": sum(value for (_, component), value in restarts.items() if component == name),
            "lag": sum(lag) if lag else None,
            "rebalances": sum(dealt) if dealt else None,
        }
    return found


def _belongs(group: str, component: str) -> bool:
    """Groups are named after their component, with dots where it has dashes and more may follow."""
    return group == component or group.startswith(component.replace("-", ".", 1) + ".")


# --- for a person


def words(reports: Sequence[Report]) -> str:
    """One table, a row for each component of each process; then what waits, the store and the queue."""
    lines = _table_of(reports, ready=all(report["ready"] for report in reports))
    for report in reports:
        if "error" in report:
            lines.append(f"{_host(report)} does not answer: {report['error']}")
        lines += _waits(report)
    answered = [report for report in reports if "error" not in report]
    lines += [_fold(report) for report in answered]
    queues = [report["queue"] for report in answered if report["queue"]["up"]] or [r["queue"] for r in answered]
    lines += [_queue(queue) for queue in queues[:1]]
    return "\n".join(lines)


def fleet_words(asked: Report, fleet: Fleet) -> str:
    """The same of processes that were not asked themselves. Of a silent one the last that is known."""
    lines = _table_of(fleet.data, ready=asked["ready"] and not fleet.away)
    lines += [f"no ready process runs {name}" for name in fleet.away]
    speaking = [report for report in fleet.data if not report["silent"]]
    waits = [line for report in speaking for line in _waits(report)]
    lines += waits or _waits(asked)  # it knows of itself before the log does
    return "\n".join([*lines, *(_fold(report) for report in speaking), _queue(asked["queue"])])


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
        state = _silence(report) or ("ready" if component["ready"] else "not ready")
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
    state = _silence(report) or ("ready" if report["ready"] else "not ready")
    return rows or [(_host(report), "-", state, "-", "-", "-", memory)]


def _silence(report: Report) -> str:
    return f"silent for {report['age_s']:.0f} s" if report.get("silent") else ""


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
    state = "" if queue["up"] else " (it does not answer: these are the latest known)"
    return (
        f"webhook queue: {queue['waiting']:.0f} of {queue['waiting_max']:.0f} waiting, {queue['leased']:.0f} under way,"
        f" {queue['dead']:.0f} dead, oldest {queue['oldest_s']:.1f} s{state}"
    )


def _host(report: Report) -> str:
    return str(report.get("instance") or str(report["url"]).partition("://")[2].rstrip("/"))


def _json(told: Report) -> str:
    return json.dumps(told, indent=2, sort_keys=True)


# --- where


def instances(config: Config, urls: Sequence[str], token: str | None) -> list[Instance]:
    """Each of these processes, or the configured one."""
    return [instance(config, url, token) for url in urls] or [instance(config, None, token)]


def instance(config: Config, url: str | None, token: str | None) -> Instance:
    """Where the instance is and the token for it. Another instance than ours never gets ours."""
    if url:
        return url, Secret(token) if token else None
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.http.host, config.http.host)  # noqa: S104
    where = f"http://{f'[{host}]' if ':' in host else host}:{config.http.port}"
    return where, Secret(token) if token else _known_token(config)


def _known_token(config: Config) -> Secret | None:
    if config.security.open or config.security.system_token:
        return config.security.system_token
    directory = data_directory(config)
    files = (directory / TOKEN_FILE, directory / DEMO / TOKEN_FILE)
    return next((read_token(file) for file in files if file.exists()), None)
