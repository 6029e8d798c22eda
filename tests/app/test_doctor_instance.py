"""`airy doctor`: a fault is planted in what an instance answers, and its cause and the next step are named."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from airy import __version__
from airy.clock import SystemClock
from airy.http_client import ConnectFailed, Response
from tests.kit.doctor import Patient, Planted, assert_found, free_port, wrong
from tests.kit.fake_instance import FakeInstance

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

TOKEN = "the-right-token-of-it"
PUBLIC = "https://inbox.example.org"
HEALTHY = {
    "airy_fold_lag": 0.0,
    "airy_fold_age_seconds": 0.0,
    "airy_event_loop_delay_seconds": 0.01,
    "airy_webhook_queue_up": 1.0,
    "airy_webhooks_waiting": 3.0,
    "airy_webhooks_waiting_max": 1_000_000.0,
    "airy_webhooks_oldest_age_seconds": 1.0,
    "airy_dead_deliveries": 0.0,
    'airy_partitions_held{topic="application.communication.events"}': 0.0,
    'airy_bugs_total{kind="send"}': 0.0,
    'airy_consumer_age_seconds{group="webhook-publisher",topic="application.communication.events"}': 0.5,
}


class SickInstance:
    """A `FakeInstance` that can also be another program, be called at the public address, and have a wrong clock."""

    def __init__(self) -> None:
        self.airy = FakeInstance(token=TOKEN)
        self.airy.counts = dict(HEALTHY)
        self.process: dict[str, Any] = {"instance": "inbox-1", "version": __version__, "age_s": 1.0, "stale": False}
        self.others: list[dict[str, Any]] = []
        self.component = {"processes": 1, "ready": 1}
        self.channels: list[dict[str, Any]] = []
        self.webhooks: list[dict[str, Any]] = []
        self.endpoints: list[dict[str, Any]] = []
        self.plan: dict[str, Any] = {"differences": []}
        self.last_change: dict[str, Any] | None = None
        self.settings = {
            "security.webhooks.ports": [443],
            "security.webhooks.allowHttp": False,
            "security.webhooks.allowPrivateAddresses": False,
        }
        self.dead_letters = 0
        self.version = __version__
        self.ahead_s = 0.0
        self.alive: object = {"alive": True, "installation": "this-one"}
        self.public: Response | Exception = Response(200, {}, b'{"alive": true, "installation": "this-one"}')

    async def __call__(self, method: str, url: str, **given: Any) -> Response:
        if url.startswith(PUBLIC):
            if isinstance(self.public, Exception):
                raise self.public
            return self.public
        self.airy.documents = {
            "/client.config": {"services": {}, "cluster_version": self.version},
            "/processes.list": {"data": [self.process, *self.others], "components": {"api-admin": self.component}},
            "/channels.list": {"data": self.channels},
            "/webhooks.list": {"data": self.webhooks},
            "/webhooks.stats": {"data": self.endpoints},
            "/components.plan": self.plan,
            "/components.list": {
                "last_change": self.last_change,
                "data": [{"settings": [{"path": path, "value": value} for path, value in self.settings.items()]}],
            },
            "/dead-letters.list": {"data": [], "pagination_data": {"total": self.dead_letters}},
        }
        found = await self.airy(method, url, **given)
        if url.endswith("/livez"):
            found = Response(200, {}, msgspec.json.encode(self.alive))
        return replace(
            found,
            headers={**found.headers, "date": formatdate(SystemClock().now_ms() / 1000 + self.ahead_s, usegmt=True)},
        )


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    with ExitStack() as exits:
        patient = Patient(tmp_path, free_port(), exits)
        patient.http = SickInstance()
        patient.token = TOKEN
        patient.public_url = PUBLIC
        yield patient


def instance(change: Callable[[SickInstance], object]) -> Callable[[Patient], None]:
    def plant(patient: Patient) -> None:
        assert isinstance(patient.http, SickInstance)
        change(patient.http)

    return plant


def attribute(name: str, value: object) -> Callable[[Patient], None]:
    return instance(lambda sick: setattr(sick, name, value))


def metric(name: str, value: float) -> Callable[[Patient], None]:
    """Every sample of it."""
    return instance(
        lambda sick: sick.airy.counts.update(
            {sample: value for sample in HEALTHY if sample.partition("{")[0] == f"airy_{name}"}
        )
    )


def wrong_token(patient: Patient) -> None:
    patient.token = "a-token-of-another-one"


def no_token(patient: Patient) -> None:
    patient.token = None


def readable_token(patient: Patient) -> None:
    patient.token = None
    patient.data.mkdir()
    patient.data.joinpath("system-token").write_text(TOKEN)
    patient.data.joinpath("system-token").chmod(0o644)


def asked_and_down(patient: Patient) -> None:
    patient.url = "http://inbox.test:8080"
    patient.http = FakeInstance()
    patient.http.down = True


def channel(metadata: dict[str, Any]) -> Callable[[Patient], None]:
    row = {"id": "c-1", "source": "instagram", "source_channel_id": "1784", "metadata": {"name": "Shop", **metadata}}
    return attribute("channels", [row])


def webhook(url: str) -> Callable[[Patient], None]:
    return attribute("webhooks", [{"id": "w-1", "name": "crm", "status": "Subscribed", "url": url}])


def local_webhook(patient: Patient, port: int) -> None:
    anywhere = {"ports": [], "allowHttp": True, "allowPrivateAddresses": True}
    attribute("settings", {f"security.webhooks.{name}": value for name, value in anywhere.items()})(patient)
    webhook(f"http://127.0.0.1:{port}/hook")(patient)


def unreachable_webhook(patient: Patient) -> None:
    local_webhook(patient, free_port())


def endpoint(**stats: object) -> Callable[[Patient], None]:
    def plant(patient: Patient) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        patient.exits.callback(listener.close)
        local_webhook(patient, listener.getsockname()[1])
        attribute("endpoints", [{"id": "w-1", "attempts": 3, **stats}])(patient)

    return plant


UNREADY = {"airy/webhooks/publisher": "the disk is slow"}
EXPIRED = {"credentials_expire_at": "2026-01-01T00:00:00.000Z"}
FAILING = {"health": {"state": "failing", "reason": "the page was unpublished"}}
CONNECT = "connect it again with a new token: channels.instagram.connect"

FAULTS = (
    Planted("nothing answers", "instance.reachable", "no instance answers at http://inbox", "airy up", asked_and_down),
    Planted("a wrong token", "instance.token", "refuses the token", "--token", wrong_token),
    Planted("no token", "instance.token", "wants a token", "--data", no_token),
    Planted("a readable token", "data.secrets", "system-token can be read by others", "chmod 600", readable_token),
    Planted("a clock ahead", "instance.clock", "s ahead of", "timedatectl", attribute("ahead_s", 3_600.0)),
    Planted("a clock behind", "instance.clock", "s behind", "timedatectl", attribute("ahead_s", -30.0), "warning"),
    Planted("another version", "instance.version", "0.0.9", "upgrade", attribute("version", "0.0.9"), "warning"),
    Planted(
        "a component that waits",
        "instance.ready",
        "publisher is not ready: the disk is slow",
        "airy status",
        instance(lambda sick: sick.airy.waiting_for.update(UNREADY)),
    ),
    Planted(
        "a component without a process",
        "instance.components",
        "no ready process runs api-admin",
        "airy run api-admin",
        attribute("component", {"processes": 0, "ready": 0}),
    ),
    Planted(
        "a silent process",
        "instance.processes",
        "inbox-1 has sent no heartbeat for 600 s",
        "start it again",
        instance(lambda sick: sick.process.update(stale=True, age_s=600.0)),
        "warning",
    ),
    Planted(
        "another process that waits",
        "instance.fleet",
        "router of process inbox-2 is not ready: kafka is away",
        "airy status",
        attribute("others", [{"instance": "inbox-2", "waiting_for": {"airy/router": "kafka is away"}}]),
        "warning",
    ),
    Planted("held partitions", "instance.held", "of a newer version", "upgrade", metric("partitions_held", 2)),
    Planted(
        "a store behind",
        "instance.fold",
        "store of process inbox-1 is 90 records (95 s) behind",
        "just started",
        instance(lambda sick: sick.process.update(fold={"lag": 90, "age_s": 95.0})),
        "warning",
    ),
    Planted(
        "lag", "instance.lag", "webhook-publisher is 3,600 s", "airy status", metric("consumer_age_seconds", 3_600)
    ),
    Planted(
        "a blocked event loop",
        "instance.event-loop",
        "blocked for 4.0 s",
        "processor",
        metric("event_loop_delay_seconds", 4),
        "warning",
    ),
    Planted("bugs", "instance.bugs", "3 unexpected errors", "report them", metric("bugs_total", 3), "warning"),
    Planted("a queue that is away", "webhooks.queue", "does not answer", "redis", metric("webhook_queue_up", 0)),
    Planted("a full queue", "webhooks.queue", "deliveries wait", "jobsMax", metric("webhooks_waiting", 999_999)),
    Planted(
        "an endpoint that fails",
        "webhooks.backlog",
        "waits for 900 s",
        "airy console",
        metric("webhooks_oldest_age_seconds", 900),
        "warning",
    ),
    Planted(
        "an endpoint that answers errors",
        "webhooks.endpoints",
        "webhook crm does not take deliveries since 2026-11-30T22:00:00Z: it answered 500",
        "shows the attempts",
        endpoint(health="failing", failing_since="2026-11-30T22:00:00Z", last_attempt={"status": 500}),
    ),
    Planted(
        "a file that is not applied",
        "instance.configuration",
        "other settings than its file has: log.level",
        "restart it",
        attribute("plan", {"differences": [{"path": "log.level"}]}),
        "warning",
    ),
    Planted(
        "a change that was taken back",
        "instance.configuration",
        "was taken back: the port is taken",
        "apply it again",
        attribute("last_change", {"at": "2026-11-30", "state": "reverted", "problem": "the port is taken"}),
        "warning",
    ),
    Planted("dead deliveries", "webhooks.dead", "7 webhook", "replay them", metric("dead_deliveries", 7), "warning"),
    Planted("dead letters", "records.dead-letters", "5 records", "airy dlq", attribute("dead_letters", 5), "warning"),
    Planted(
        "a webhook without TLS",
        "webhooks.url",
        "crm posts to shop.example.org: use https",
        "webhooks.update",
        webhook("http://shop.example.org/hook"),
    ),
    Planted(
        "a webhook to this machine",
        "webhooks.url",
        "not a public address",
        "security.webhooks",
        webhook("https://127.0.0.1/hook"),
    ),
    Planted("a webhook to nowhere", "webhooks.url", "does not answer", "start the endpoint", unreachable_webhook),
    Planted("an expired provider token", "channels.credentials", "has expired", CONNECT, channel(EXPIRED)),
    Planted(
        "a channel that fails",
        "channels.health",
        "Shop does not work: the page was unpublished",
        "at the provider",
        channel(FAILING),
    ),
    Planted(
        "a public address of another program",
        "instance.public-url",
        "answered 404",
        "http.publicUrl",
        attribute("public", Response(404, {}, b"<html>")),
    ),
    Planted(
        "a public address of another installation",
        "instance.public-url",
        "leads to another installation",
        "http.publicUrl",
        attribute("public", Response(200, {}, b'{"alive": true, "installation": "that-one"}')),
    ),
    Planted(
        "a public address without a host",
        "instance.public-url",
        "cannot be resolved",
        "DNS",
        attribute("public", ConnectFailed("the host name cannot be resolved")),
    ),
)


@pytest.mark.parametrize("planted", FAULTS, ids=str)
async def test_the_cause_and_the_next_step_are_named(planted: Planted, patient: Patient) -> None:
    planted.plant(patient)

    assert_found(planted, await patient.examined())


async def test_a_healthy_instance_has_nothing_to_correct(patient: Patient) -> None:
    patient.data.mkdir()
    unreachable = {"id": "w-2", "name": "old", "status": "Unsubscribed", "url": "http://gone.example.org"}
    attribute("webhooks", [unreachable])(patient)
    channel({"credentials_expire_at": "2999-01-01T00:00:00.000Z", "health": {"state": "ok"}})(patient)

    results = await patient.examined()

    assert wrong(results) == {}
    of_instance = [each for each in results if each.check.group in ("instance", "webhooks", "records", "channels")]
    assert {finding.state for each in of_instance for finding in each.findings} == {"ok"}


async def test_what_cannot_be_read_is_skipped_and_the_rest_is_examined(patient: Patient) -> None:
    def answer_nonsense(sick: SickInstance) -> None:
        sick.airy.refusals["/metrics"] = Response(200, {}, b"<html> not metrics")
        sick.airy.refusals["/processes.list"] = Response(200, {}, b"[]")

    instance(answer_nonsense)(patient)
    attribute("dead_letters", 1)(patient)

    results = await patient.examined()

    assert set(wrong(results)) == {"records.dead-letters"}


async def test_a_token_without_the_permission_operate_skips_what_it_may_not_see(patient: Patient) -> None:
    for path in ("/metrics", "/processes.list", "/dead-letters.list"):
        instance(lambda sick, path=path: sick.airy.refuse(path, 403, "forbidden"))(patient)  # type: ignore[misc]

    results = await patient.examined()

    assert wrong(results) == {}
    (lag,) = (each for each in results if each.check.name == "instance.lag")
    assert [finding.text for finding in lag.findings] == ["the instance does not show its metrics to this token"]
