"""`airy status`: the same facts for people and programs, and our token for our instance only."""

import json
from pathlib import Path

import pytest

from airy.client import Client
from airy.config import Config, load, system_token
from airy.errors import Refused, Unavailable
from airy.fetch import Answer
from airy.secret import Secret
from airy.tui.status import ask, ask_all, instance, instances, look, words
from tests.kit.instance import Instance

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
    "airy_webhooks_dead": 1.0,
    "airy_webhooks_oldest_age_seconds": 1.5,
}


def there() -> Instance:
    instance_ = Instance(token=TOKEN)
    instance_.counts = dict(FIGURES)
    return instance_


async def test_one_process_is_shown_component_by_component_with_the_store_and_the_queue() -> None:
    here = there()
    here.waiting_for = {"airy/webhooks/publisher": "redis is away"}
    report = await ask(Client(here, URL, Secret(TOKEN)))

    assert words([report]).splitlines() == [
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


async def test_programs_get_the_same_and_every_number() -> None:
    report = await ask(Client(there(), URL, Secret(TOKEN)))

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
    clients = [Client(instance_, url, Secret(TOKEN)) for instance_, url in zip((one, two, down), urls, strict=True)]

    reports = await ask_all(clients)
    lines = words(reports).splitlines()

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
    assert "127.0.0.1:8083 does not answer: 127.0.0.1: connection refused" in lines
    assert len(table) == 1 + 3 + 3 + 1
    assert len([line for line in lines if line.startswith("store of")]) == 2
    assert "still catching up" in next(line for line in lines if line.startswith("store of 127.0.0.1:8081"))
    assert [line for line in lines if line.startswith("webhook queue")] == [
        "webhook queue: 12 of 1000000 waiting, 3 under way, 1 dead, oldest 1.5 s"
    ]


def said(port: int, *components: str, silent: bool = False, **more: object) -> dict[str, object]:
    """A process as `/processes.list` has it."""
    return {
        "instance": f"host:{port}",
        "url": f"http://10.0.0.1:{port}",
        "version": "1.2.3",
        "started_at": "2026-01-01T00:00:00.000Z",
        "age_s": 42.4 if silent else 1.0,
        "silent": silent,
        "ready": not silent,
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


def fleet() -> Instance:
    """An API process that knows of itself, a publisher, and a consumer that was killed."""
    api = there()
    waits = {"airy/webhooks/publisher": "redis is away"}
    api.fleet = {
        "data": [
            said(8080, "api-admin", "http"),
            said(8081, "webhook-publisher", ready=False, waiting_for=waits),
            said(8082, "webhook-consumer", silent=True),
        ],
        "components": {
            "api-admin": {"processes": 1, "ready": 1},
            "webhook-consumer": {"processes": 1, "ready": 0},
            "webhook-publisher": {"processes": 1, "ready": 1},
        },
    }
    return api


async def test_one_process_with_the_api_tells_of_all_and_who_is_silent_since_when() -> None:
    text, ready = await look([Client(fleet(), URL, Secret(TOKEN))], as_json=False)

    assert not ready, "a component that no ready process runs"
    assert text.splitlines() == [
        "Airy 1.2.3: not ready",
        "",
        "PROCESS    COMPONENT          STATE            RESTARTS  LAG  REBALANCES  MEMORY",
        "host:8080  api-admin          ready                   1    -           -  84 MiB",
        "           http               ready                   1    -           -",
        "host:8081  webhook-publisher  ready                   1    7           -  84 MiB",
        "host:8082  webhook-consumer   silent for 42 s         1    -           -  84 MiB",
        "",
        "no ready process runs webhook-consumer",
        "host:8081 waits for airy/webhooks/publisher: redis is away",
        "store of host:8080: 5 behind (0.2 s)",
        "store of host:8081: 5 behind (0.2 s)",
        "webhook queue: 12 of 1000000 waiting, 3 under way, 1 dead, oldest 1.5 s",
    ]


async def test_programs_get_every_process_beside_what_the_asked_one_says() -> None:
    api = fleet()
    text, ready = await look([Client(api, URL, Secret(TOKEN))], as_json=True)
    told = json.loads(text)

    assert api.fleet is not None
    assert told["processes"] == api.fleet["data"]
    assert told["component_processes"] == api.fleet["components"]
    assert (told["ready"], ready) == (False, False)
    assert told["counts"] == FIGURES


async def test_one_silent_process_of_two_is_no_reason_to_be_not_ready() -> None:
    api = fleet()
    assert api.fleet is not None
    api.fleet["components"]["webhook-consumer"] = {"processes": 2, "ready": 1}
    text, ready = await look([Client(api, URL, Secret(TOKEN))], as_json=False)

    assert ready
    assert text.startswith("Airy 1.2.3: ready")
    assert "silent for 42 s" in text
    assert "no ready process" not in text


async def test_an_asked_process_that_is_not_ready_says_so_whatever_the_others_are() -> None:
    api = fleet()
    assert api.fleet is not None
    api.fleet["components"] = {"api-admin": {"processes": 2, "ready": 1}}
    api.fleet["data"] = [said(8080, "api-admin")]
    api.waiting_for = {"store": "it is 31 s behind the log"}
    text, ready = await look([Client(api, URL, Secret(TOKEN))], as_json=False)

    assert not ready
    assert "127.0.0.1:8080 waits for store: it is 31 s behind the log" in text


async def test_a_process_that_knows_of_no_other_is_shown_alone() -> None:
    """Without the API, or of an older version."""
    old = there()
    text, ready = await look([Client(old, URL, Secret(TOKEN))], as_json=False)

    assert old.asked["/processes.list"] == 1
    assert text == words([await ask(Client(old, URL, Secret(TOKEN)))])
    assert ready
    assert "processes" not in json.loads((await look([Client(old, URL, Secret(TOKEN))], as_json=True))[0])


async def test_several_urls_are_asked_themselves_and_nobody_about_others() -> None:
    one, two = fleet(), fleet()
    text, _ = await look(
        [Client(one, "http://127.0.0.1:8081", Secret(TOKEN)), Client(two, "http://127.0.0.1:8082", Secret(TOKEN))],
        as_json=False,
    )

    assert "host:8080" not in text
    assert "/processes.list" not in one.asked


async def test_a_queue_that_does_not_answer_is_said() -> None:
    here = there()
    here.counts["airy_webhook_queue_up"] = 0.0

    assert "does not answer" in words([await ask(Client(here, URL, Secret(TOKEN)))])


async def test_a_process_without_the_api_is_shown_as_well() -> None:
    here = there()
    here.pages.discard("/client.config")
    report = await ask(Client(here, URL, Secret(TOKEN)))

    assert report["services"] == {}
    assert report["version"] == "1.2.3"


async def test_what_is_no_exposition_is_refused() -> None:
    here = there()
    here.counts = {"airy_messages{": 1.0}

    with pytest.raises(Refused, match="/metrics"):
        await ask(Client(here, URL, Secret(TOKEN)))


async def test_an_instance_that_is_down_is_unavailable_and_a_wrong_token_refused() -> None:
    there = Instance(token=TOKEN)
    with pytest.raises(Refused, match="forbidden"):
        await ask(Client(there, URL, Secret("wrong")))
    there.down = True
    with pytest.raises(Unavailable, match="connection refused"):
        await ask(Client(there, URL, Secret(TOKEN)))


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:9"), ("0.0.0.0", "http://127.0.0.1:9"), ("::", "http://[::1]:9")],
)
def test_the_instance_is_where_it_listens(host: str, url: str) -> None:
    config = load(None, {"AIRY_HOST": host, "AIRY_PORT": "9", "AIRY_SYSTEM_TOKEN": TOKEN})

    assert instance(config, None, None) == (url, Secret(TOKEN))
    assert instance(config, None, "given") == (url, Secret("given"))


def test_processes_are_those_that_are_named_or_the_configured_one() -> None:
    config = load(None, {"AIRY_PORT": "9", "AIRY_SYSTEM_TOKEN": TOKEN})

    assert instances(config, (), None) == [("http://127.0.0.1:9", Secret(TOKEN))]
    assert instances(config, ("http://a", "http://b"), "t") == [("http://a", Secret("t")), ("http://b", Secret("t"))]


def test_another_instance_never_gets_our_token() -> None:
    config = load(None, {"AIRY_SYSTEM_TOKEN": TOKEN})

    assert instance(config, "http://elsewhere.example", None) == ("http://elsewhere.example", None)


def test_a_generated_token_is_found_also_that_of_the_demo_and_none_is_made(tmp_path: Path) -> None:
    here = load(None, {"AIRY_DATA": str(tmp_path)})
    assert instance(here, None, None)[1] is None
    assert list(tmp_path.iterdir()) == []

    demo = system_token(load(None, {"AIRY_DATA": str(tmp_path / "demo")}))
    assert instance(here, None, None)[1] == demo
    own = system_token(here)
    assert own != demo
    assert instance(here, None, None)[1] == own


class Odd:
    """Answers what is given."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def __call__(self, method: str, url: str, **_: object) -> Answer:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (Answer(503, {"retry-after": "7"}, b'{"message": "full"}'), Unavailable, "/x answered 503: full"),
        (Answer(429, {}, b""), Unavailable, "/x answered 429: without a reason"),
        (Answer(400, {}, b'{"message": "no"}'), Refused, "/x answered 400: no"),
        (Answer(200, {}, b"<html>"), Refused, "did not answer what it should"),
        (Answer(200, {}, b""), Refused, "did not answer what it should"),
    ],
)
async def test_errors_keep_their_meaning_across_the_wire(answer: Answer, error: type[Exception], message: str) -> None:
    client = Client(Odd(answer), URL, None)  # type: ignore[arg-type]

    with pytest.raises(error, match=message) as caught:
        await client.call("/x", {}, dict[str, int])
    if isinstance(caught.value, Unavailable):
        assert caught.value.retry_after_s == (7.0 if answer.headers else None)


def test_the_default_configuration_is_the_default_instance() -> None:
    assert instance(Config(), None, "t") == ("http://127.0.0.1:8080", Secret("t"))
