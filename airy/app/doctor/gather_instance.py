"""Gathers facts from a running instance, through its API, and from the addresses others call it at or it calls."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
import msgspec
from msgspec import Struct

from airy.app.doctor.check import NotGathered
from airy.app.doctor.facts import PublicUrlFacts
from airy.app.doctor.instance_facts import (
    ChannelView,
    ComponentView,
    ConfigChangeView,
    EndpointView,
    InstanceFacts,
    PlanView,
    ProcessView,
    TokenState,
    WebhookUrlFacts,
    WebhookView,
)
from airy.egress import UNRESTRICTED as EVERYWHERE
from airy.egress import EgressPolicy, check_url
from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient, Response, date_s
from airy.secret import Secret
from airy.tui.poll import parse_metrics

CONNECT_S = 2.0
CALL_S = 5.0
BODY_BYTES_MAX = 16_777_216
WEBHOOKS_MAX = 20
UNAUTHORISED = frozenset({401, 403})

T = TypeVar("T")


class _Alive(Struct, frozen=True):
    alive: bool
    installation: str = ""


class _Waiting(Struct, frozen=True):
    waiting_for: dict[str, str] = {}


class _ClientConfig(Struct, frozen=True):
    cluster_version: str = ""


class _Processes(Struct, frozen=True):
    data: tuple[ProcessView, ...]
    components: dict[str, ComponentView] = {}


class _Channels(Struct, frozen=True):
    data: tuple[ChannelView, ...]


class _Webhooks(Struct, frozen=True):
    data: tuple[WebhookView, ...]


class _Endpoints(Struct, frozen=True):
    data: tuple[EndpointView, ...]


class _Setting(Struct, frozen=True):
    path: str
    value: Any = None


class _Section(Struct, frozen=True):
    settings: tuple[_Setting, ...] = ()


class _Configuration(Struct, frozen=True):
    data: tuple[_Section, ...]
    last_change: ConfigChangeView | None = None

    def values(self) -> dict[str, Any]:
        return {setting.path: setting.value for section in self.data for setting in section.settings}


class _Total(Struct, frozen=True):
    total: int = 0


class _DeadLetterPage(Struct, frozen=True):
    pagination_data: _Total = _Total()


class InstanceClient:
    """Calls one instance. A call that fails has no answer."""

    def __init__(self, http: HttpClient, url: str, token: Secret | None) -> None:
        self.url = url.rstrip("/")
        self._http = http
        self._headers = {"content-type": "application/json"}
        if token:
            self._headers["authorization"] = f"Bearer {token.reveal()}"

    async def get(self, path: str) -> Response:
        """Raises `Unavailable`, `Refused`."""
        return await self._call("GET", path, None)

    async def post(self, path: str, body: object = {}) -> Response:
        """Raises `Unavailable`, `Refused`."""
        return await self._call("POST", path, msgspec.json.encode(body))

    async def read(self, path: str, shape: type[T], body: object = {}) -> T | None:
        try:
            response = await self.post(path, body)
        except (Unavailable, Refused):
            return None
        return decoded(response, shape) if response.status == 200 else None

    async def metrics(self) -> Mapping[str, float] | None:
        try:
            response = await self.get("/metrics")
            return parse_metrics(response.body.decode("utf-8", "replace")) if response.status == 200 else None
        except (Unavailable, Refused, ValueError):  # the last: not in their format
            return None

    async def _call(self, method: str, path: str, body: bytes | None) -> Response:
        return await self._http(
            method,
            f"{self.url}{path}",
            headers=self._headers,
            body=body,
            connect_s=CONNECT_S,
            total_s=CALL_S,
            body_bytes_max=BODY_BYTES_MAX,
        )


def decoded(response: Response, shape: type[T]) -> T | None:
    try:
        return msgspec.json.decode(response.body, type=shape, strict=False)
    except msgspec.MsgspecError:
        return None


async def gather_instance(
    http: HttpClient, url: str, token: Secret | None, without: TokenState, now_ms: Callable[[], int]
) -> InstanceFacts:
    """`without`: why there is no token, where there is none."""
    client = InstanceClient(http, url, token)
    sent_ms = now_ms()
    try:
        alive = await client.get("/livez")
    except (Unavailable, Refused) as error:
        return InstanceFacts(url=url, now_ms=sent_ms, failure=str(error))
    probe = decoded(alive, _Alive)
    if probe is None:
        return InstanceFacts(url=url, now_ms=sent_ms, failure=f"/livez answered {alive.status} and nothing of Airy's")
    skew_ms = _skew_ms(alive, (sent_ms + now_ms()) // 2)
    ready = decoded(await client.get("/readyz"), _Waiting) or _Waiting()
    known = InstanceFacts(
        url=url, now_ms=sent_ms, skew_ms=skew_ms, installation=probe.installation, waiting_for=ready.waiting_for
    )
    state, version = await _try_token(client, "refused" if token else without)
    known = msgspec.structs.replace(known, token=state, version=version)
    return known if state != "accepted" else await _with_reports(client, known)


def _skew_ms(response: Response, now_ms: int) -> int | None:
    """`Date` has whole seconds, cut off: half a second is added."""
    at_s = date_s(response.headers.get("date", ""))
    return None if at_s is None else round(at_s * 1000) + 500 - now_ms


async def _try_token(client: InstanceClient, denied: TokenState) -> tuple[TokenState, str]:
    """A process without the API is asked for its metrics. 403 to a token that another path takes is a missing right."""
    answers = [await client.post("/client.config"), await client.get("/metrics")]
    if answers[0].status == 200:
        config = decoded(answers[0], _ClientConfig)
        return "accepted", config.cluster_version if config else ""
    if any(each.status == 200 for each in answers):
        return "accepted", ""
    if any(each.status in UNAUTHORISED for each in answers):
        return denied, ""
    return "unknown", ""


async def _with_reports(client: InstanceClient, known: InstanceFacts) -> InstanceFacts:
    found: dict[str, Any] = {}

    async def metrics() -> None:
        found["metrics"] = await client.metrics()

    async def read(name: str, path: str, shape: type[Any], body: object = {}) -> None:
        found[name] = await client.read(path, shape, body)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(metrics)
        tasks.start_soon(read, "processes", "/processes.list", _Processes)
        tasks.start_soon(read, "channels", "/channels.list", _Channels)
        tasks.start_soon(read, "webhooks", "/webhooks.list", _Webhooks)
        tasks.start_soon(read, "endpoints", "/webhooks.stats", _Endpoints)
        tasks.start_soon(read, "configuration", "/components.list", _Configuration)
        tasks.start_soon(read, "plan", "/components.plan", PlanView)
        tasks.start_soon(read, "dead_letters", "/dead-letters.list", _DeadLetterPage, {"page_size": 1})
    processes, page, configuration = found["processes"], found["dead_letters"], found["configuration"]
    return msgspec.structs.replace(
        known,
        metrics=found["metrics"],
        processes=processes and processes.data,
        components=processes and processes.components,
        channels=found["channels"] and found["channels"].data,
        webhooks=found["webhooks"] and found["webhooks"].data,
        endpoints=found["endpoints"] and {each.id: each for each in found["endpoints"].data},
        settings=configuration and configuration.values(),
        plan=found["plan"],
        last_change=configuration and configuration.last_change,
        dead_letters=page and page.pagination_data.total,
    )


# --- addresses


async def gather_public_url(http: HttpClient, url: str | None, installation: str) -> PublicUrlFacts | NotGathered:
    """`installation`: the one that should answer there."""
    if not url:
        return NotGathered("http.publicUrl is not set")
    try:
        response = await InstanceClient(http, url, None).get("/livez")
    except (Unavailable, Refused) as error:
        return PublicUrlFacts(url, installation, error=str(error))
    probe = decoded(response, _Alive)
    return PublicUrlFacts(
        url, installation, status=response.status, found=None if probe is None else probe.installation
    )


async def gather_webhook_urls(facts: InstanceFacts) -> WebhookUrlFacts | NotGathered:
    """Looks at the webhooks that have not answered the instance lately. Connects to their hosts, and sends nothing."""
    if facts.webhooks is None:
        return NotGathered("the instance did not list its webhooks")
    webhooks = [webhook for webhook in facts.webhooks if webhook.status == "Subscribed"]
    silent = [webhook for webhook in webhooks if not _answers(facts, webhook)][:WEBHOOKS_MAX]
    policy = _policy(facts.settings)
    refused = {webhook.id: reason for webhook in silent if (reason := _refused(policy, webhook.url))}
    unreachable: dict[str, str] = {}

    async def connect(webhook: WebhookView) -> None:
        if reason := await _connect(webhook.url):
            unreachable[webhook.id] = reason

    async with anyio.create_task_group() as tasks:
        for webhook in silent:
            if not facts.asked and webhook.id not in refused:
                tasks.start_soon(connect, webhook)
    return WebhookUrlFacts(tuple(webhooks), refused, unreachable)


def _answers(facts: InstanceFacts, webhook: WebhookView) -> bool:
    known = (facts.endpoints or {}).get(webhook.id)
    return known is not None and known.health == "ok" and known.attempts > 0


def _policy(settings: Mapping[str, Any] | None) -> EgressPolicy | None:
    """Of the running process; None if it does not show its settings."""
    if settings is None:
        return None
    values = {
        name: settings.get(f"security.webhooks.{name}") for name in ("ports", "allowHttp", "allowPrivateAddresses")
    }
    return EgressPolicy(
        ports=tuple(values["ports"] or ()),
        http=bool(values["allowHttp"]),
        private=bool(values["allowPrivateAddresses"]),
    )


def _refused(policy: EgressPolicy | None, url: str) -> str:
    try:
        check_url(url, policy or EVERYWHERE)
    except Refused as error:
        return str(error)
    return ""


async def _connect(url: str) -> str:
    parts = urlsplit(url)
    try:
        with anyio.fail_after(CONNECT_S):
            stream = await anyio.connect_tcp(
                parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
            )
    except TimeoutError:
        return f"no connection within {CONNECT_S:g} s"
    except OSError as error:
        return error.strerror or "the host name cannot be resolved, or the connection is refused"
    await stream.aclose()
    return ""
