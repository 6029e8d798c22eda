"""`airy doctor`: a fault is planted in the file system or the machine, and its cause and the next step are named."""

import os
import resource
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import apsw
import pytest

from airy.app.doctor.catalogue import CHECKS
from airy.app.doctor.check import Check, Finding, each, ok, problem
from airy.app.doctor.examination import examine, has_problem
from airy.app.doctor.facts import MachineFacts, PortFacts
from airy.app.doctor.report import GROUPS, lines
from airy.bus.memory import open_journal
from airy.http_client import Response
from airy.seal import load_or_create_key
from airy.store.sqlite import schema
from tests.kit.doctor import Patient, Planted, assert_found, free_port, wrong

REAL_TIME = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    with ExitStack() as exits:
        patient = Patient(tmp_path, free_port(), exits)
        yield patient


def installed(patient: Patient) -> None:
    """As after a first start."""
    patient.data.mkdir()
    open_journal(patient.data / "journal").close()
    load_or_create_key(patient.data / "sealing.key")
    patient.data.joinpath("system-token").write_text("a-token-of-some-length")
    patient.data.joinpath("system-token").chmod(0o600)


# --- the configuration


def unknown_key(patient: Patient) -> None:
    patient.settings = "queue: {knid: redis}"


def variable_not_set(patient: Patient) -> None:
    patient.settings = "security: {systemToken: '${INBOX_TOKEN}'}"


def readable_secrets(patient: Patient) -> None:
    patient.settings = "security: {systemToken: a-token-in-clear-text}"
    patient.file.touch(0o644)


def open_api(patient: Patient) -> None:
    patient.settings = "security: {open: true}"
    patient.env["AIRY_HOST"] = "0.0.0.0"


def http_in_place_of_https(patient: Patient) -> None:
    telegram(patient, "http://inbox.example.org")


def loopback_as_public_address(patient: Patient) -> None:
    telegram(patient, "https://localhost:8080")


def telegram(patient: Patient, public_url: str) -> None:
    patient.public_url = public_url
    patient.settings = "components: {sources: {telegram: {enabled: true}}}"


# --- the disk


def full_disk(patient: Patient) -> None:
    patient.data.mkdir()
    mount(patient, "size=64k")


def read_only_disk(patient: Patient) -> None:
    patient.data.mkdir()
    mount(patient, "ro")


def mount(patient: Patient, options: str) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", patient.data], check=False)
    if done.returncode:
        pytest.skip("this user may not mount")
    patient.exits.callback(subprocess.run, ["umount", patient.data], check=True)


def limit_of_file_sizes(patient: Patient) -> None:
    patient.data.mkdir()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    patient.exits.callback(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, limits[1]))


def file_in_place_of_the_directory(patient: Patient) -> None:
    patient.data.write_text("")


def readable_sealing_key(patient: Patient) -> None:
    installed(patient)
    patient.data.joinpath("sealing.key").chmod(0o644)


def damaged_sealing_key(patient: Patient) -> None:
    installed(patient)
    patient.data.joinpath("sealing.key").write_text("k1 not-base64!")


def lost_sealing_key(patient: Patient) -> None:
    installed(patient)
    patient.data.joinpath("sealing.key").unlink()


# --- the journal and the store


def damaged_journal(patient: Patient) -> None:
    installed(patient)
    patient.data.joinpath("journal/journal.db").write_bytes(b"SQLite format 3\0" + bytes(4080))


def newer_journal(patient: Patient) -> None:
    installed(patient)
    with closing(apsw.Connection(str(patient.data / "journal/journal.db"))) as connection:
        connection.pragma("user_version", 99)


def foreign_journal(patient: Patient) -> None:
    installed(patient)
    patient.data.joinpath("journal/journal.db").unlink()
    with closing(apsw.Connection(str(patient.data / "journal/journal.db"))) as connection:
        connection.execute("CREATE TABLE notes(text)")
    patient.data.joinpath("journal/journal.db").chmod(0o600)


def journal_in_another_process(patient: Patient) -> None:
    installed(patient)
    patient.exits.enter_context(open_journal(patient.data / "journal"))


def store_of_another_version(patient: Patient) -> None:
    installed(patient)
    with store_file(patient) as connection:
        connection.pragma("user_version", schema.VERSION + 1)


def store_of_another_log(patient: Patient) -> None:
    installed(patient)
    with store_file(patient) as connection:
        connection.execute("INSERT INTO last_applied VALUES(1, 0, 7, 4711)")


@contextmanager
def store_file(patient: Patient) -> Iterator[apsw.Connection]:
    with closing(apsw.Connection(str(patient.data / "store.db"))) as connection:
        schema.create(connection)
        yield connection


# --- the port and the machine


def port_taken(patient: Patient) -> None:
    listener = socket.create_server(("127.0.0.1", patient.port))
    patient.exits.callback(listener.close)


def address_of_another_machine(patient: Patient) -> None:
    patient.env["AIRY_HOST"] = "192.0.2.1"


def few_open_files(patient: Patient) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    patient.exits.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))


FAULTS = (
    Planted("an unknown key", "config.valid", "queue.knid", "line 3", unknown_key),
    Planted(
        "a variable that is not set", "config.valid", "INBOX_TOKEN is not set", "export INBOX_TOKEN=", variable_not_set
    ),
    Planted(
        "secrets that others can read", "config.secrets", "mode 644", "chmod 600", readable_secrets, state="warning"
    ),
    Planted(
        "an open API", "config.authentication", "has all permissions", "remove security.open", open_api, state="warning"
    ),
    Planted(
        "http", "config.public-url", "to https only", "publicUrl: https://inbox.example.org", http_in_place_of_https
    ),
    Planted(
        "loopback as public address",
        "config.public-url",
        "only machines of this network",
        "set http.publicUrl",
        loopback_as_public_address,
        state="warning",
    ),
    Planted("a full disk", "data.space", "is full", "free space", full_disk),
    Planted("a read-only disk", "data.directory", "cannot be written", "data.directory", read_only_disk),
    Planted("a limit of file sizes", "data.space", "RLIMIT_FSIZE", "ulimit -f unlimited", limit_of_file_sizes),
    Planted(
        "a file in place of the directory", "data.directory", "not a directory", "move", file_in_place_of_the_directory
    ),
    Planted("a key that others can read", "data.secrets", "mode 644", "chmod 600", readable_sealing_key),
    Planted("a damaged key", "data.sealing-key", "is not a key", "from your backup", damaged_sealing_key),
    Planted("a lost key", "data.key-kept", "key is missing", "restore sealing.key", lost_sealing_key),
    Planted("a damaged journal", "journal.file", "is damaged", "restore it from your backup", damaged_journal),
    Planted("a newer journal", "journal.file", "version 99", "install the version of Airy", newer_journal),
    Planted("a foreign journal", "journal.file", "not a journal of Airy", "move", foreign_journal),
    Planted(
        "a journal in another process",
        "journal.lock",
        f"process {os.getpid()} (",
        f"kill {os.getpid()}",
        journal_in_another_process,
    ),
    Planted(
        "a store of another version",
        "store.file",
        "of another version",
        "nothing",
        store_of_another_version,
        state="warning",
    ),
    Planted("a store of another log", "store.log", "from another log", "rm ", store_of_another_log),
    Planted("a port that is taken", "http.port", f"taken by process {os.getpid()}", "kill", port_taken),
    Planted(
        "an address of another machine",
        "http.port",
        "192.0.2.1 is not an address of this machine",
        "http.host",
        address_of_another_machine,
    ),
    Planted(
        "a low limit of open files", "machine.files", "512 files", "ulimit -n 4096", few_open_files, state="warning"
    ),
)


@REAL_TIME
@pytest.mark.parametrize("planted", FAULTS, ids=str)
async def test_the_cause_and_the_next_step_are_named(planted: Planted, patient: Patient) -> None:
    planted.plant(patient)

    assert_found(planted, await patient.examined())


@REAL_TIME
@pytest.mark.parametrize("prepare", [lambda _: None, installed], ids=["before the first start", "installed"])
async def test_a_healthy_installation_has_nothing_to_correct(
    prepare: Callable[[Patient], None], patient: Patient
) -> None:
    prepare(patient)

    results = await patient.examined()

    assert wrong(results) == {}
    assert not has_problem(results)


@REAL_TIME
async def test_an_unexpected_error_about_one_subject_leaves_the_others(patient: Patient) -> None:
    async def odd(*_: object, **__: object) -> Response:
        raise ValueError("odd")

    patient.http = odd

    found = {result.check.name: result.findings[0] for result in await patient.examined()}

    assert found["instance.reachable"] == Finding("skipped", "unexpectedly ValueError: odd")
    assert found["data.space"].state == "ok"


def test_a_cause_suppresses_its_consequences_and_a_check_that_is_not_configured_suppresses_nothing() -> None:
    facts = MachineFacts((3, 11), (), 1, 1, "", "", terminal=False)
    checks = (
        Check("a.cause", "", MachineFacts, lambda _: problem("broken", "correct it")),
        Check("a.consequence", "", MachineFacts, lambda _: problem("lost", ""), ("a.cause",)),
        Check("a.further", "", MachineFacts, lambda _: problem("lost", ""), ("a.consequence",)),
        Check("b.absent", "", PortFacts, lambda _: problem("lost", "")),
        Check("b.other", "", MachineFacts, lambda _: ok("right"), ("b.absent",)),
    )

    results = examine(checks, {MachineFacts: facts})

    found = {result.check.name: (result.findings[0].state, result.findings[0].text) for result in results}
    assert found == {
        "a.cause": ("problem", "broken"),
        "a.consequence": ("skipped", "explained by a.cause"),
        "a.further": ("skipped", "explained by a.cause"),
        "b.absent": ("skipped", "nothing is known"),
        "b.other": ("ok", "right"),
    }


def test_a_finding_is_one_line_without_control_characters() -> None:
    (finding,) = problem("a name\nwith \x1b[31mcolour", "correct it")

    assert finding.text == "a name with [31mcolour"


def test_a_check_lists_five_findings_and_counts_the_rest() -> None:
    findings = each((problem(f"cause {number}", "correct it") for number in range(8)), "right")

    assert [finding.text for finding in findings][4:] == ["cause 4", "and 3 more of this kind"]


def test_text_is_wrapped_below_itself_and_a_plain_terminal_gets_plain_symbols() -> None:
    facts = MachineFacts((3, 11), (), 1, 1, "", "", terminal=False)
    cause = Check("data.cause", "", MachineFacts, lambda _: problem("the disk of /srv is full", "free some space"))
    absent = Check("redis.absent", "", PortFacts, lambda _: ok(""))

    shown = lines(examine((cause, absent), {MachineFacts: facts}), unicode=False, coloured=False, columns=32)

    assert shown == [
        "Data directory",
        "  x cause   the disk of /srv is",
        "            full",
        "            -> free some space",
        "",
        "Skipped",
        "  Redis: nothing is known",
        "",
        "2 checks: 1 problem, 1 skipped",
    ]


def test_every_check_is_after_checks_before_it_and_in_a_named_group() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        assert seen.issuperset(check.after), check.name
        assert check.group in GROUPS
        assert check.name not in seen
        seen.add(check.name)
