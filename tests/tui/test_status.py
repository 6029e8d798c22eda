"""`airy status`: the same facts for people and programs, and our token for our instance only."""

from pathlib import Path

import pytest

from airy.client import Client
from airy.config import Config, load, system_token
from airy.errors import Refused, Unavailable
from airy.fetch import Answer
from airy.secret import Secret
from airy.tui.status import ask, instance, words
from tests.kit.instance import Instance

URL = "http://127.0.0.1:8080"
TOKEN = "a-token-of-some-length"


async def test_the_report_has_readiness_services_and_counts() -> None:
    there = Instance(token=TOKEN)
    there.waiting_for = {"store": "folding"}
    there.services = {
        "webhook-consumer": {"enabled": True, "healthy": False, "component": "integration-webhook"},
        "sources-facebook-connector": {"enabled": False, "healthy": False, "component": "sources-facebook"},
    }
    there.counts = {"airy_messages": 7.0}

    report = await ask(Client(there, URL, Secret(TOKEN)))

    assert (report["ready"], report["waiting_for"], report["version"]) == (False, {"store": "folding"}, "1.2.3")
    assert words(report).splitlines() == [
        f"Airy 1.2.3 at {URL}: not ready",
        "  waits for store: folding",
        "  sources-facebook-connector  off",
        "  webhook-consumer            unhealthy",
        "  airy_messages               7",
    ]


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
