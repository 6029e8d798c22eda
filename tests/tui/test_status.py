"""`airy status`: text and JSON output, and the token only for the configured instance."""

import json
from pathlib import Path

import pytest

from airy.api_client import ApiClient
from airy.config import Config
from airy.config_file import load
from airy.errors import Refused, Unavailable
from airy.http_client import Response
from airy.secret import Secret
from airy.token_file import system_token
from airy.tui.instance import instance, instances
from airy.tui.status import format_processes, read_report, read_reports, read_status
from tests.kit.fake_instance import FakeInstance

URL = "http://127.0.0.1:8080"
TOKEN = "a-token-of-some-length"


FIGURES = {
    'airy_build_info{components="http,webhook-publisher",python="3.11.7",version="1.2.3"}': 1.0,
    'airy_component_ready{component="http"}': 1.0,
    'airy_component_ready{component="sources-facebook"}': 1.0,
    'airy_component_ready{component="webhook-publisher"}': 0.0,
    'airy_restarts_total{actor="router",component="sources-facebook"}': 2.0,
    'airy_restarts_total{actor="connector",component="sources-facebook"}': 1.0,
    'airy_restarts_total{actor="http",component="http"}': 0.0,
    'airy_consumer_lag{group="sources.facebook.router",topic="source.facebook.events"}': 40.0,
    'airy_consumer_lag{group="sources.facebook.unpark",topic="application.communication.channels"}': 2.0,
    'airy_consumer_lag{group="webhook-publisher",topic="application.communication.events"}': 7.0,
    'airy_rebalances_total{group="sources.facebook.router"}': 3.0,
    'airy_rebalances_total{group="webhook-publisher"}': 1.0,
    'airy_process_resident_memory_bytes{component="all"}': 88_080_384.0,
    'airy_fold_position{topic="application.communication.events"}': 1200.0,
    'airy_fold_position{topic="application.communication.tags"}': 34.0,
    "airy_fold_lag": 5.0,
    "airy_fold_age_seconds": 0.25,
    "airy_store_caught_up": 1.0,
    "airy_webhook_queue_up": 1.0,
    "airy_webhooks_waiting": 12.0,
    "airy_webhooks_waiting_max": 1_000_000.0,
    "airy_webhooks_leased": 3.0,
    "airy_dead_deliveries": 1.0,
    "airy_webhooks_oldest_age_seconds": 1.5,
}


def there() -> FakeInstance:
    instance_ = FakeInstance(token=TOKEN)
    instance_.counts = dict(FIGURES)
    return instance_


async def test_one_process_is_shown_component_by_component_with_the_store_and_the_queue() -> None:
    here = there()
    here.waiting_for = {"airy/webhooks/publisher": "redis is away"}
    report = await read_report(ApiClient(here, URL, Secret(TOKEN)))

    assert format_processes([report]).splitlines() == [
        "Airy 1.2.3: not ready",
        "",
        "PROCESS         COMPONENT          STATE      RESTARTS  LAG  REBALANCES  MEMORY",
        "127.0.0.1:8080  http               ready             0    -           -  84 MiB",
        "                sources-facebook   ready             3   42           3",
        "                webhook-publisher  not ready         0    7           1",
        "",
        "127.0.0.1:8080 waits for airy/webhooks/publisher: redis is away",
        "store of 127.0.0.1:8080: at 1234, 5 behind (0.2 s)",
        "webhook queue: 12 of 1000000 waiting, 3 under way, 1 dead, oldest 1.5 s",
    ]


async def test_json_output_has_the_same_and_every_number() -> None:
    report = await read_report(ApiClient(there(), URL, Secret(TOKEN)))

    assert (report["url"], report["ready"], report["version"]) == (URL, True, "1.2.3")
    assert report["counts"] == FIGURES
    assert report["components"]["sources-facebook"] == {"ready": True, "restarts": 3, "lag": 42, "rebalances": 3}
    assert report["fold"] == {"position": 1234, "lag": 5, "age_s": 0.25, "caught_up": True}
    assert report["lag"]["webhook-publisher application.communication.events"] == 7
    assert report["queue"]["oldest_s"] == 1.5
    json.dumps(report)


async def test_several_processes_are_one_table_and_one_that_is_down_has_a_row() -> None:
    one, two, down = there(), there(), there()
    two.counts['airy_component_ready{component="webhook-publisher"}'] = 1.0
    two.counts["airy_webhook_queue_up"] = one.counts["airy_store_caught_up"] = 0.0
    down.down = True
    urls = [f"http://127.0.0.1:{port}" for port in (8081, 8082, 8083)]
    clients = [ApiClient(instance_, url, Secret(TOKEN)) for instance_, url in zip((one, two, down), urls, strict=True)]

    reports = await read_reports(clients)
    lines = format_processes(reports).splitlines()

    assert [report["ready"] for report in reports] == [True, True, False]
    assert lines[0] == "Airy 1.2.3: not ready"
    table = lines[2 : lines.index("", 2)]
    assert [line.split()[0] for line in table if not line.startswith(" ")] == [
        "PROCESS",
        "127.0.0.1:8081",
        "127.0.0.1:8082",
        "127.0.0.1:8083",
    ]
    assert "unreachable" in table[-1]
    assert "127.0.0.1:8083 does not respond: 127.0.0.1: connection refused" in lines
    assert len(table) == 1 + 3 + 3 + 1
    assert len([line for line in lines if line.startswith("store of")]) == 2
    assert "still catching up" in next(line for line in lines if line.startswith("store of 127.0.0.1:8081"))
    assert [line for line in lines if line.startswith("webhook queue")] == [
        "webhook queue: 12 of 1000000 waiting, 3 under way, 1 dead, oldest 1.5 s"
    ]


def said(port: int, *components: str, stale: bool = False, **more: object) -> dict[str, object]:
    """An entry of `/processes.list`."""
    return {
        "instance": f"host:{port}",
        "url": f"http://10.0.0.1:{port}",
        "version": "1.2.3",
        "started_at": "2026-01-01T00:00:00.000Z",
        "age_s": 42.4 if stale else 1.0,
        "stale": stale,
        "ready": not stale,
        "waiting_for": {},
        "memory_bytes": 88_080_384,
        "event_loop_delay_s": 0.0,
        "fold": {"lag": 5, "age_s": 0.25, "caught_up": True},
        "components": {
            name: {"ready": True, "restarts": 1, "lag": 7 if "publisher" in name else None, "rebalances": None}
            for name in components
        },
        **more,
    }


def fleet() -> FakeInstance:
    """An API process whose registry has itself, a publisher, and a killed consumer."""
    api = there()
    waits = {"airy/webhooks/publisher": "redis is away"}
    api.fleet = {
        "data": [
            said(8080, "api-admin", "http"),
            said(8081, "webhook-publisher", ready=False, waiting_for=waits),
            said(8082, "webhook-consumer", stale=True),
        ],
        "components": {
            "api-admin": {"processes": 1, "ready": 1},
            "webhook-consumer": {"processes": 1, "ready": 0},
            "webhook-publisher": {"processes": 1, "ready": 1},
        },
    }
    return api


async def test_an_api_process_reports_all_processes_and_the_age_of_stale_ones() -> None:
    status = await read_status([ApiClient(fleet(), URL, Secret(TOKEN))])
    text, ready = status.text, status.ready

    assert not ready, "a component that no ready process runs"
    assert text.splitlines() == [
        "Airy 1.2.3: not ready",
        "",
        "PROCESS    COMPONENT          STATE           RESTARTS  LAG  REBALANCES  MEMORY",
        "host:8080  api-admin          ready                  1    -           -  84 MiB",
        "           http               ready                  1    -           -",
        "host:8081  webhook-publisher  ready                  1    7           -  84 MiB",
        "host:8082  webhook-consumer   stale for 42 s         1    -           -  84 MiB",
        "",
        "no ready process runs webhook-consumer",
        "host:8081 waits for airy/webhooks/publisher: redis is away",
        "store of host:8080: 5 behind (0.2 s)",
        "store of host:8081: 5 behind (0.2 s)",
        "webhook queue: 12 of 1000000 waiting, 3 under way, 1 dead, oldest 1.5 s",
    ]


async def test_json_output_has_every_process_and_the_queried_ones_report() -> None:
    api = fleet()
    status = await read_status([ApiClient(api, URL, Secret(TOKEN))])
    told = status.document

    assert api.fleet is not None
    assert told["processes"] == api.fleet["data"]
    assert told["component_processes"] == api.fleet["components"]
    assert (told["ready"], status.ready) == (False, False)
    assert told["counts"] == FIGURES


async def test_one_stale_process_of_two_does_not_make_the_installation_unready() -> None:
    api = fleet()
    assert api.fleet is not None
    api.fleet["components"]["webhook-consumer"] = {"processes": 2, "ready": 1}
    status = await read_status([ApiClient(api, URL, Secret(TOKEN))])
    text, ready = status.text, status.ready

    assert ready
    assert text.startswith("Airy 1.2.3: ready")
    assert "stale for 42 s" in text
    assert "no ready process" not in text


async def test_a_queried_process_that_is_not_ready_determines_the_result() -> None:
    api = fleet()
    assert api.fleet is not None
    api.fleet["components"] = {"api-admin": {"processes": 2, "ready": 1}}
    api.fleet["data"] = [said(8080, "api-admin")]
    api.waiting_for = {"store": "it is 31 s behind the log"}
    status = await read_status([ApiClient(api, URL, Secret(TOKEN))])
    text, ready = status.text, status.ready

    assert not ready
    assert "127.0.0.1:8080 waits for store: it is 31 s behind the log" in text


async def test_a_process_without_a_registry_is_shown_alone() -> None:
    """Without the API, or of an older version."""
    old = there()
    status = await read_status([ApiClient(old, URL, Secret(TOKEN))])
    text, ready = status.text, status.ready

    assert old.asked["/processes.list"] == 1
    assert text == format_processes([await read_report(ApiClient(old, URL, Secret(TOKEN)))])
    assert ready
    assert "processes" not in status.document


async def test_several_urls_are_queried_directly() -> None:
    one, two = fleet(), fleet()
    status = await read_status(
        [
            ApiClient(one, "http://127.0.0.1:8081", Secret(TOKEN)),
            ApiClient(two, "http://127.0.0.1:8082", Secret(TOKEN)),
        ],
    )
    text = status.text

    assert "host:8080" not in text
    assert "/processes.list" not in one.asked


async def test_an_unavailable_queue_is_reported() -> None:
    here = there()
    here.counts["airy_webhook_queue_up"] = 0.0

    assert "does not respond" in format_processes([await read_report(ApiClient(here, URL, Secret(TOKEN)))])


async def test_a_process_without_the_api_is_shown() -> None:
    here = there()
    here.pages.discard("/client.config")
    report = await read_report(ApiClient(here, URL, Secret(TOKEN)))

    assert report["services"] == {}
    assert report["version"] == "1.2.3"


async def test_an_invalid_exposition_is_refused() -> None:
    here = there()
    here.counts = {"airy_messages{": 1.0}

    with pytest.raises(Refused, match="/metrics"):
        await read_report(ApiClient(here, URL, Secret(TOKEN)))


async def test_an_instance_that_is_down_is_unavailable_and_a_wrong_token_refused() -> None:
    there = FakeInstance(token=TOKEN)
    with pytest.raises(Refused, match="forbidden"):
        await read_report(ApiClient(there, URL, Secret("wrong")))
    there.down = True
    with pytest.raises(Unavailable, match="connection refused"):
        await read_report(ApiClient(there, URL, Secret(TOKEN)))


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:9"), ("0.0.0.0", "http://127.0.0.1:9"), ("::", "http://[::1]:9")],
)
def test_the_default_instance_is_at_the_configured_address(host: str, url: str) -> None:
    config = load(None, {"AIRY_HOST": host, "AIRY_PORT": "9", "AIRY_SYSTEM_TOKEN": TOKEN})

    assert instance(config, None, None) == (url, Secret(TOKEN))
    assert instance(config, None, "given") == (url, Secret("given"))


def test_instances_are_the_given_urls_or_the_configured_one() -> None:
    config = load(None, {"AIRY_PORT": "9", "AIRY_SYSTEM_TOKEN": TOKEN})

    assert instances(config, (), None) == [("http://127.0.0.1:9", Secret(TOKEN))]
    assert instances(config, ("http://a",), "t\n") == [("http://a", Secret("t"))]  # as `export` reads a file
    with pytest.raises(Refused, match=r"^the token contains NUL at character 1"):
        instances(config, (), "\0t")
    assert instances(config, ("http://a", "http://b"), "t") == [("http://a", Secret("t")), ("http://b", Secret("t"))]


def test_another_url_never_gets_the_configured_token() -> None:
    config = load(None, {"AIRY_SYSTEM_TOKEN": TOKEN})

    assert instance(config, "http://elsewhere.example", None) == ("http://elsewhere.example", None)


def test_a_generated_token_is_found_and_never_created_by_status(tmp_path: Path) -> None:
    here = load(None, {"AIRY_DATA": str(tmp_path)})
    assert instance(here, None, None)[1] is None
    assert list(tmp_path.iterdir()) == []

    demo = system_token(load(None, {"AIRY_DATA": str(tmp_path / "demo")}))
    assert instance(here, None, None)[1] == demo
    own = system_token(here)
    assert own != demo
    assert instance(here, None, None)[1] == own


class Odd:
    """Returns the given response."""

    def __init__(self, answer: Response) -> None:
        self.answer = answer

    async def __call__(self, method: str, url: str, **_: object) -> Response:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (Response(503, {"retry-after": "7"}, b'{"message": "full"}'), Unavailable, "/x answered 503: full"),
        (Response(429, {}, b""), Unavailable, "/x answered 429: without a reason"),
        (Response(400, {}, b'{"message": "no"}'), Refused, "/x answered 400: no"),
        (Response(200, {}, b"<html>"), Refused, "returned an invalid response"),
        (Response(200, {}, b""), Refused, "returned an invalid response"),
    ],
)
async def test_errors_keep_their_meaning_across_the_wire(
    answer: Response, error: type[Exception], message: str
) -> None:
    client = ApiClient(Odd(answer), URL, None)  # type: ignore[arg-type]

    with pytest.raises(error, match=message) as caught:
        await client.call("/x", {}, dict[str, int])
    if isinstance(caught.value, Unavailable):
        assert caught.value.retry_after_s == (7.0 if answer.headers else None)


def test_the_default_configuration_is_the_default_instance() -> None:
    assert instance(Config(), None, "t") == ("http://127.0.0.1:8080", Secret("t"))
