"""`airy dlq …` on the journal of a stopped installation, and through the API of a running one."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import anyio
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from airy import topics
from airy.actors.runtime import Context
from airy.app import dead_letter_admin as admin
from airy.app.files import journal_path
from airy.app.log_transfer.open_log import open_log
from airy.bus.api import Bus
from airy.bus.dead_letter import make_dead_letter
from airy.bus.memory import open_journal
from airy.bus.record import Record
from airy.cli import dead_letter_text as text
from airy.cli.view import printable
from airy.clock import SystemClock
from airy.config import Config, DataConfig, HttpConfig, SecurityConfig
from airy.errors import Refused, Unavailable
from airy.file_lock import InUse
from airy.http.server import HttpServer
from airy.secret import Secret
from tests.kit.api import TOKEN, api_harness

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

RAW = topics.source_events("facebook")
FIRST, SECOND = f"{RAW.name}/0/0", f"{RAW.name}/0/1"


@pytest.fixture(autouse=True)
def _log_not_on_stdout() -> Iterator[None]:
    with capture_logs():
        yield


def configured(path: Path) -> Config:
    return Config(data=DataConfig(directory=str(path)), http=HttpConfig(port=1))  # nothing answers at port 1


async def append(bus: Bus, value: bytes = b'{"text":"hi"}') -> None:
    dead_letters = topics.dead_letters_of(RAW.name)
    assert dead_letters is not None
    originals = [
        Record(RAW.name, 0, number, b"page", value, (("request-id", b"r\x1b[31m"),), 1_700_000_000_000)
        for number in range(2)
    ]
    await bus.publish([make_dead_letter(dead_letters, each, "no \x1b[31mentry", 3) for each in originals])


async def count(bus: Bus) -> int:
    return sum((await bus.end_offsets([RAW])).values())


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Bus, str]]:
    async with api_harness() as api, anyio.create_task_group() as tasks:
        ready = anyio.Event()
        ctx = Context("http", clock=SystemClock(), random=Random(0), on_ready=ready.set)
        server = HttpServer(api.app)
        tasks.start_soon(server.run, ctx)
        with anyio.fail_after(60):
            await ready.wait()
        assert server.address is not None
        yield api.bus, f"http://127.0.0.1:{server.address[1]}"
        ctx.draining.set()


async def test_on_the_journal_of_a_stopped_installation(tmp_path: Path) -> None:
    config = configured(tmp_path)
    async with open_log(config) as bus:
        await append(bus)
    found = await admin.find_all(config, None, None, topic=None, state="open")
    assert {letter["id"] for letter in found.data} == {FIRST, SECOND}

    letter = await admin.get(config, None, None, FIRST)
    assert letter["headers"] == [{"name": "request-id", "value": "r\x1b[31m"}]
    detail = "\n".join(text.detail_lines(letter))
    assert "\x1b" not in detail
    assert detail.endswith('body:\n{"text":"hi"}')

    options = {"all_of": None, "everything": False, "confirm": lambda _: True}
    for result in ("replayed", "already_replayed"):
        outcomes = await admin.resolve(config, None, None, "replay", [FIRST], **options)
        assert outcomes == [{"id": FIRST, "result": result}]
    everything = {**options, "everything": True}
    outcomes = await admin.resolve(config, None, None, "discard", [], **everything, reason="a test")
    assert outcomes == [{"id": SECOND, "result": "discarded"}]
    letter = await admin.get(config, None, None, SECOND)
    assert (letter["resolution_reason"], letter["resolved_by"]) == ("a test", "airy-dlq")
    assert await admin.resolve(config, None, None, "discard", [], **everything) == []
    async with open_log(config) as bus:
        assert await count(bus) == 1


async def test_through_the_api_of_a_running_process(tmp_path: Path) -> None:
    config = configured(tmp_path)
    async with running() as (bus, url):
        await append(bus, b"\xff\x00")
        found = await admin.find_all(config, url, TOKEN, topic=RAW.name, state=None)
        assert ([letter["id"] for letter in found.data], found.complete) == ([SECOND, FIRST], True)
        assert text.detail_lines(await admin.get(config, url, TOKEN, SECOND))[-2:] == ["body (base64):", "/wA="]
        options = {"all_of": RAW.name, "everything": True}
        assert await admin.resolve(config, url, TOKEN, "replay", [], confirm=lambda _: False, **options) == []
        assert await count(bus) == 0
        outcomes = await admin.resolve(config, url, TOKEN, "replay", [], confirm=lambda _: True, **options)
        assert [each["result"] for each in outcomes] == ["replayed"] * 2
        assert await count(bus) == 2
        with pytest.raises(Refused, match="there is no dead letter"):
            await admin.get(config, url, TOKEN, f"{RAW.name}/0/9")
        with pytest.raises(Refused, match="403"):
            await admin.find_all(config, url, "wrong", topic=None, state=None)


async def test_a_process_at_the_configured_address_is_asked_without_an_url(tmp_path: Path) -> None:
    async with running() as (bus, url):
        await append(bus)
        config = replace(
            configured(tmp_path),
            http=HttpConfig(port=int(url.rpartition(":")[2])),
            security=SecurityConfig(system_token=Secret(TOKEN)),
        )
        assert len((await admin.find_all(config, None, None, topic=None, state="open")).data) == 2
    assert not journal_path(config).exists()


async def test_an_address_where_nothing_answers_and_a_journal_in_use_are_errors(tmp_path: Path) -> None:
    config = configured(tmp_path)
    with pytest.raises(Unavailable):
        await admin.find_all(config, "http://127.0.0.1:1", TOKEN, topic=None, state=None)
    with open_journal(journal_path(config)), pytest.raises(InUse):
        await admin.find_all(config, None, None, topic=None, state=None)


@pytest.mark.parametrize(
    ("given", "shown"), [("a\x1b[2Jb", "a\\x1b[2Jb"), ("\u202e", "\\u202e"), ("\x00\n", "\\x00\\n"), ("Grüße", "Grüße")]
)
async def test_no_terminal_sequence_of_a_dead_letter_takes_effect(given: str, shown: str) -> None:
    assert printable(given) == shown
    assert printable("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"
