"""`airy log …`, `airy verify`, `airy rebuild`, `airy queue acl`, `airy config validate`: tables and schemas of results.

The commands themselves run in tests/app/test_log_transfer_commands.py.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from airy import app
from airy.app import log_transfer, rebuild
from airy.app.log_transfer.commands import ArchiveComparison
from airy.app.log_transfer.exporter import ArchiveSummary
from airy.app.log_transfer.fold_digest import FoldDigest
from airy.app.verify import FoldedStore
from tests.kit.command_line import CommandLine, matches_golden

SUMMARY = ArchiveSummary(records=1204, group_ordinals=7, sha256="ab" * 32)
FOLD = FoldDigest("0c" * 32, 20, 1101, 3409, unreadable=0)
OTHER = FoldDigest("d1" * 32, 20, 1100, 3406, unreadable=2)
LOG = FoldedStore(name="log", result="folded", conversations=20, messages=1101, channels=3, digest="0c" * 32)
STORES = [
    LOG,
    FoldedStore(name="store-1.db", result="same", conversations=20, messages=1101, channels=3, digest="0c" * 32),
    FoldedStore(name="store-2.db", result="different", conversations=19, messages=990, channels=3, digest="d1" * 32),
    FoldedStore(name="store-3.db", result="in use"),
]


@pytest.mark.parametrize(
    ("command", "module", "function", "result", "view", "code"),
    [
        ("log export one", log_transfer, "export", SUMMARY, "log-archive", 0),
        ("log import one", log_transfer, "load", (SUMMARY, ["removed store.db"]), "log-archive", 0),
        ("log digest", log_transfer, "digest", FOLD, "log-digest", 0),
        ("log check one", log_transfer, "check", ArchiveComparison(True, FOLD, FOLD), "log-comparison", 0),
        ("log check other", log_transfer, "check", ArchiveComparison(False, FOLD, OTHER), "log-comparison", 70),
        ("verify", app, "verify", STORES, "stores", 70),
    ],
)
def test_a_result_is_printed_in_each_format(
    airy: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    module: object,
    function: str,
    result: object,
    view: str,
    code: int,
) -> None:
    async def given(*_: object, **__: object) -> object:
        return result

    monkeypatch.setattr(module, function, given)

    table, document = airy(*command.split()), airy(*command.split(), "--json")

    assert matches_golden(command.replace(" ", "-"), table.out)
    assert (table.code, document.code) == (code, code)
    airy.valid(view, document.json)


def test_what_is_exported_to_stdout_is_described_on_stderr(airy: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def given(*_: object) -> object:
        return SUMMARY

    monkeypatch.setattr(log_transfer, "export", given)

    printed = airy("log", "export", "-", "-o", "ndjson")

    assert (printed.out, '"records": 1204' in printed.err) == ("", True)


def test_a_store_is_printed_when_it_is_built(airy: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def given(_config: object, on_rebuilt: Callable[[FoldedStore], object]) -> None:
        on_rebuilt(FoldedStore(name="store.db", result="rebuilt", conversations=20, messages=1101, channels=3))

    monkeypatch.setattr(rebuild, "rebuild", given)

    assert matches_golden("rebuild", airy("rebuild", "--yes").out)
    assert airy.json("stores", "rebuild", "--yes")[0]["result"] == "rebuilt"


def test_the_user_of_the_queue_is_a_command_for_people_and_rules_for_programs(airy: CommandLine) -> None:
    assert matches_golden("queue-acl", airy("queue", "acl").out)
    assert airy.json("redis-user", "queue", "acl", "--user", "other")["user"] == "other"


def test_problems_of_a_configuration_are_lines_on_stderr_and_a_document(airy: CommandLine) -> None:
    Path("airy.yaml").write_text("http:\n  port: many\n  hots: here\n")

    told, document = airy("config", "validate"), airy("config", "validate", "--json")

    assert (told.code, told.out, document.code) == (78, "", 78)
    assert matches_golden("error-config", told.err)
    assert [each["line"] for each in airy.valid("config-validation", document.json)["problems"]] == [2, 3]


def test_a_right_configuration_is_said_to_be_so(airy: CommandLine) -> None:
    assert airy("config", "validate").out == "no airy.yaml in this directory: the defaults are OK\n"
    assert airy.json("config-validation", "config", "validate") == {"file": None, "valid": True, "problems": []}
