"""`airy dlq …` on the journal of a stopped installation, and through the API of a running one."""

import json
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
from airy.app import dead_letter_text as text
from airy.app.files import journal_path
from airy.app.log_transfer.open_log import open_log
from airy.bus.api import Bus
from airy.bus.dead_letter import make_dead_letter
from airy.bus.memory import open_journal
from airy.bus.record import Record
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


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


async def test_on_the_journal_of_a_stopped_installation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path)
    async with open_log(config) as bus:
        await append(bus)
    assert await admin.show_list(config, None, None, topic=None, state="open", as_json=False) == 0
    shown = lines(capsys)
    assert shown[0].split() == [*["ID", "STATE", "ATTEMPTS"], "FIRST", "SEEN", "BYTES", "KEY", "REASON"]
    assert {line.split()[0] for line in shown[1:]} == {FIRST, SECOND}
    assert all(line.endswith("no \\x1b[31mentry") for line in shown[1:])

    await admin.show_letter(config, None, None, FIRST, as_json=False)
    detail = capsys.readouterr().out
    assert "\x1b" not in detail
    assert 'body:\n{"text":"hi"}\n' in detail
    await admin.show_letter(config, None, None, FIRST, as_json=True)
    assert json.loads(capsys.readouterr().out)["headers"] == [{"name": "request-id", "value": "r\x1b[31m"}]

    options = {"all_of": None, "everything": False, "confirm": lambda _: True, "as_json": False}
    await admin.resolve(config, None, None, "replay", [FIRST], **options)
    await admin.resolve(config, None, None, "replay", [FIRST], **options)
    assert lines(capsys) == [f"replayed  {FIRST}", f"already replayed  {FIRST}"]
    await admin.resolve(config, None, None, "discard", [], **{**options, "everything": True}, reason="a test")
    assert lines(capsys) == [f"discarded  {SECOND}"]
    await admin.show_letter(config, None, None, SECOND, as_json=False)
    shown = lines(capsys)
    assert ["resolution_reason", "a", "test"] in [line.split() for line in shown]
    assert ["resolved_by", "airy-dlq"] in [line.split() for line in shown]
    await admin.resolve(config, None, None, "discard", [], **{**options, "everything": True})
    assert lines(capsys) == ["no dead letters"]
    async with open_log(config) as bus:
        assert await count(bus) == 1


async def test_through_the_api_of_a_running_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path)
    async with running() as (bus, url):
        await append(bus, b"\xff\x00")
        await admin.show_list(config, url, TOKEN, topic=RAW.name, state=None, as_json=True)
        found = json.loads(capsys.readouterr().out)
        assert ([letter["id"] for letter in found["data"]], found["complete"]) == ([SECOND, FIRST], True)
        await admin.show_letter(config, url, TOKEN, SECOND, as_json=False)
        assert "body (base64):\n/wA=\n" in capsys.readouterr().out
        options = {"all_of": RAW.name, "everything": True, "as_json": True}
        await admin.resolve(config, url, TOKEN, "replay", [], confirm=lambda _: False, **options)
        assert await count(bus) == 0
        capsys.readouterr()
        await admin.resolve(config, url, TOKEN, "replay", [], confirm=lambda _: True, **options)
        assert [each["result"] for each in json.loads(capsys.readouterr().out)["data"]] == ["replayed"] * 2
        assert await count(bus) == 2
        with pytest.raises(Refused, match="there is no dead letter"):
            await admin.show_letter(config, url, TOKEN, f"{RAW.name}/0/9", as_json=False)
        with pytest.raises(Refused, match="403"):
            await admin.show_list(config, url, "wrong", topic=None, state=None, as_json=False)


async def test_a_process_at_the_configured_address_is_asked_without_an_url(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running() as (bus, url):
        await append(bus)
        config = replace(
            configured(tmp_path),
            http=HttpConfig(port=int(url.rpartition(":")[2])),
            security=SecurityConfig(system_token=Secret(TOKEN)),
        )
        await admin.show_list(config, None, None, topic=None, state="open", as_json=True)
        assert len(json.loads(capsys.readouterr().out)["data"]) == 2
    assert not journal_path(config).exists()


async def test_an_address_where_nothing_answers_and_a_journal_in_use_are_errors(tmp_path: Path) -> None:
    config = configured(tmp_path)
    with pytest.raises(Unavailable):
        await admin.show_list(config, "http://127.0.0.1:1", TOKEN, topic=None, state=None, as_json=False)
    with open_journal(journal_path(config)), pytest.raises(InUse):
        await admin.show_list(config, None, None, topic=None, state=None, as_json=False)


@pytest.mark.parametrize(
    ("given", "shown"), [("a\x1b[2Jb", "a\\x1b[2Jb"), ("\u202e", "\\u202e"), ("\x00\n", "\\x00\\n"), ("Grüße", "Grüße")]
)
async def test_no_terminal_sequence_of_a_dead_letter_takes_effect(given: str, shown: str) -> None:
    assert text.printable(given) == shown
    assert text.printable("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"
