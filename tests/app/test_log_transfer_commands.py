"""The commands `airy log …`: files, output and exit codes."""

import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO, TextIOWrapper
from pathlib import Path

import anyio
import msgspec
import pytest
import structlog

from airy import process, topics
from airy.bus.memory import MemoryBus, RetentionSettings, open_journal
from airy.cli import main
from airy.clock import SystemClock
from airy.queue.sqlite import SqliteQueue
from airy.store.sqlite import SqliteStore
from tests.kit.bus import running
from tests.kit.command_line import validate
from tests.kit.log_transfer import fill
from tests.kit.silent_logs import drop

pytestmark = pytest.mark.slow  # every publish to a journal waits for the disk


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "configure_log", lambda _: structlog.configure(processors=[drop]))
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a log; writing it waits for the disk hundreds of times."""
    directory = tmp_path_factory.mktemp("original")

    async def make() -> None:
        with open_journal(directory / "journal") as journal:
            async with running(
                MemoryBus(topics.ALL, clock=SystemClock(), journal=journal, retention=RetentionSettings(interval_s=1e6))
            ) as bus:
                await fill(bus, facts=20)

    anyio.run(make)
    return directory


@pytest.fixture
def filled(original: Path, tmp_path: Path) -> str:
    """A copy of it."""
    shutil.copytree(original, tmp_path / "filled")
    return "filled"


def airy(*arguments: str) -> int:
    return main(["log", *arguments])


def exported(data: str, name: str) -> bytes:
    assert airy("export", name, "--data", data) == 0
    return Path(name).read_bytes()


def test_export_and_import_restore_the_log(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    archive = exported(filled, "one")
    assert capsys.readouterr().out.startswith("RECORDS")
    assert airy("import", "one", "--data", "other") == 0
    assert airy("check", "one", "--data", "other") == 0
    assert capsys.readouterr().out.splitlines()[-3] == "SAME     yes"
    assert exported("other", "two") == archive
    digests = []
    for data in (filled, "other"):
        capsys.readouterr()
        assert airy("digest", "--data", data, "--json") == 0
        digests.append(msgspec.json.decode(capsys.readouterr().out))
    assert digests[0] == digests[1]
    assert digests[0]["messages"] > 0


def test_export_and_import_work_through_a_pipe(
    filled: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = BytesIO()
    out = TextIOWrapper(pipe, write_through=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        assert airy("export", "-", "--data", filled, "--json") == 0
    told = msgspec.json.decode(capsys.readouterr().err)
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(pipe.getvalue())))
    assert airy("import", "-", "--data", "other", "--json") == 0
    assert msgspec.json.decode(capsys.readouterr().out) == told
    assert exported("other", "two") == pipe.getvalue()


def test_an_archive_is_private_and_never_overwritten(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    archive = exported(filled, "one")
    assert Path("one").stat().st_mode & 0o777 == 0o600
    assert airy("export", "one", "--data", filled) == 78
    assert "one exists: name another file, or remove it" in capsys.readouterr().err
    assert Path("one").read_bytes() == archive
    assert not Path("one.part").exists()


def test_unreadable_and_unwritable_files_are_refused(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert airy("export", "nowhere/one", "--data", filled) == 78
    assert "nowhere/one.part cannot be written: No such file" in capsys.readouterr().err
    assert airy("import", "nothing", "--data", "other") == 78
    assert "nothing cannot be read: No such file" in capsys.readouterr().err


def test_a_damaged_archive_is_refused_before_anything_is_written(
    filled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = exported(filled, "one")
    Path("cut").write_bytes(archive[:-200])
    assert airy("import", "cut", "--data", "other") == 78
    assert "the archive is damaged near byte" in capsys.readouterr().err
    assert not Path("other/journal").exists()


def test_a_log_with_records_is_refused(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    exported(filled, "one")
    assert airy("import", "one", "--data", filled) == 78
    assert "the log is not empty" in capsys.readouterr().err
    assert airy("import", "one", "--data", filled, "--resume") == 0  # the log equals the archive


def test_the_log_of_a_running_instance_is_refused(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_journal(Path(filled) / "journal"):
        assert airy("export", "one", "--data", filled) == 75
    assert "is in use by process" in capsys.readouterr().err
    assert not Path("one").exists()


def test_a_log_in_memory_cannot_be_exported(capsys: pytest.CaptureFixture[str]) -> None:
    Path("airy.yaml").write_text("bus:\n  kind: memory\n")
    assert airy("export", "one") == 78
    assert "set bus.kind to journal or kafka" in capsys.readouterr().err


def test_check_reports_a_difference(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    exported(filled, "one")
    Path("empty/journal").mkdir(parents=True)
    assert airy("check", "one", "--data", "empty") == 70
    said = capsys.readouterr().out
    assert re.search("(?m)^SAME +no$", said)
    assert re.search("(?m)^LOG +0 conversations", said)


@pytest.mark.parametrize("command", ["log digest", "log export one", "verify", "rebuild --yes"])
def test_a_log_that_does_not_exist_is_refused_and_not_created(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--data", "mistyped"]) == 78
    assert "there is no log at mistyped/journal" in capsys.readouterr().err
    assert not Path("mistyped").exists()


def test_an_import_removes_caches_of_the_previous_log(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A store and a queue hold offsets, which are invalid in another log."""
    exported(filled, "one")
    Path("other").mkdir()

    async def leave() -> None:
        for cache in (SqliteStore(Path("other/store.db")), SqliteQueue(Path("other/queue.db"))):
            await cache.open()
            await cache.close()

    anyio.run(leave)
    assert airy("import", "one", "--data", "other") == 0
    said = capsys.readouterr().err
    assert "removed other/store.db" in said
    assert "renamed other/queue.db to queue-of-another-log.db" in said
    assert not list(Path("other").glob("store.db*"))
    assert not list(Path("other").glob("queue.db*"))
    assert Path("other/queue-of-another-log.db").exists()


def test_rebuild_replaces_a_damaged_store_by_the_fold_of_the_log(
    filled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(filled) / "store.db").write_bytes(b"not a database")
    assert main(["rebuild", "--data", filled]) == 64, "without a terminal it needs --yes"
    assert main(["rebuild", "--data", filled, "--yes"]) == 0
    assert main(["verify", "--data", filled]) == 0

    _, rebuilt, _, folded, verified = (line.split() for line in capsys.readouterr().out.splitlines())
    assert [each[:2] for each in (rebuilt, folded, verified)] == [
        ["store.db", "rebuilt"],
        ["log", "folded"],
        ["store.db", "same"],
    ]
    assert rebuilt[2:] == folded[2:] == verified[2:]


def test_verify_finds_a_store_that_is_not_the_fold_of_the_log(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rebuild", "--data", filled, "--yes"]) == 0
    with closing(sqlite3.connect(Path(filled) / "store.db")) as store, store:
        store.execute("DELETE FROM entities")
    capsys.readouterr()

    assert main(["verify", "--data", filled, "--json"]) == 70

    printed = capsys.readouterr()
    validate("stores", json.loads(printed.out))
    assert [(each["name"], each["result"]) for each in json.loads(printed.out)] == [
        ("log", "folded"),
        ("store.db", "different"),
    ]
    assert "airy rebuild" in printed.err


def test_the_former_option_of_the_file_is_refused_with_the_present_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert airy("export", "--output", "business.airylog") == 64

    assert "airy log export FILE" in capsys.readouterr().err
