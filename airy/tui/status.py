"""`airy status`: one look at a running instance, for people or for programs."""

import json
import sys
from typing import Any, TextIO

from msgspec import Struct

from airy.client import Client
from airy.config import TOKEN_FILE, Config, data_directory, read_token
from airy.fetch_aiohttp import AiohttpFetch
from airy.secret import Secret
from airy.tui.live import ANYWHERE
from airy.tui.poll import Ready, parse_metrics

OK = 0
NOT_READY = 75
DEMO = "demo"  # where `airy demo` keeps its data, below the configured directory


class Services(Struct, frozen=True):
    services: dict[str, dict[str, Any]] = {}
    cluster_version: str = ""


async def show(url: str, token: Secret | None, as_json: bool, out: TextIO | None = None) -> int:
    """Print how the instance is; the exit code says whether it is ready."""
    async with AiohttpFetch(ANYWHERE) as fetch:
        report = await ask(Client(fetch, url, token))
    text = json.dumps(report, indent=2, sort_keys=True) if as_json else words(report)
    (out or sys.stdout).write(text + "\n")
    return OK if report["ready"] else NOT_READY


async def ask(client: Client) -> dict[str, Any]:
    ready = await client.get("/readyz", Ready, may_fail=True)
    config = await client.call("/client.config", {}, Services)
    counts = parse_metrics(await client.text("/metrics"))
    return {
        "url": client.url,
        "version": config.cluster_version,
        "ready": ready.ready,
        "waiting_for": ready.waiting_for,
        "services": config.services,
        "counts": dict(counts),
    }


def words(report: dict[str, Any]) -> str:
    """The report for a person: one line a thing, aligned."""
    lines = [f"Airy {report['version']} at {report['url']}: {'ready' if report['ready'] else 'not ready'}"]
    lines += [f"  waits for {name}: {reason}" for name, reason in report["waiting_for"].items()]
    wide = max(map(len, [*report["services"], *report["counts"]]), default=0)
    for name, service in sorted(report["services"].items()):
        state = "off" if not service.get("enabled") else "healthy" if service.get("healthy") else "unhealthy"
        lines.append(f"  {name:<{wide}}  {state}")
    lines += [f"  {name:<{wide}}  {value:g}" for name, value in sorted(report["counts"].items())]
    return "\n".join(lines)


def instance(config: Config, url: str | None, token: str | None) -> tuple[str, Secret | None]:
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
