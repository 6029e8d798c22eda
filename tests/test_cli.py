"""The command line: arguments, exit codes, and lazy imports."""

import errno
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import structlog
import yaml
from msgspec import Struct

import airy
from airy import log, process
from airy.cli import main
from airy.cli.root import COMMANDS
from airy.components import ConsumerSection
from airy.config import Config
from airy.errors import Misconfigured, Refused, Unavailable
from airy.file_lock import InUse
from airy.http.catalogue import RESOURCES
from airy.permissions import GrantedPermission
from airy.secret import MASK
from airy.sources.catalogue import SOURCES


class Call(Struct):
    config: Config
    components: frozenset[str] | None
    ephemeral: bool
    demo: bool


class App(ModuleType):
    """Replaces the composition root: records its call, and ends as configured."""

    def __init__(self) -> None:
        super().__init__("airy.app")
        self.calls: list[Call] = []
        self.directory_existed = False
        self.end: Callable[[], int] = lambda: 0

    async def up(self, config: Config, *, on_started: Any, configuration: Any, handover: Any, **rest: Any) -> int:
        self.calls.append(Call(config, **rest))
        self.directory_existed = os.path.isdir(config.data.directory)  # noqa: PTH112 - once, in a test
        return self.end()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[App]:
    """A separate working directory, without settings from the environment, and a system that ends at once."""
    fake = App()
    monkeypatch.setattr(airy, "app", fake, raising=False)
    monkeypatch.setitem(sys.modules, "airy.app", fake)
    monkeypatch.chdir(tmp_path)
    for name in ("AIRY_CONFIG", "AIRY_PORT", "AIRY_HOST", "AIRY_DATA", "AIRY_SYSTEM_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.setattr(process, "configure_log", lambda config, file=None: log.configure(stream=io.StringIO()))
    yield fake
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_up_runs_everything_that_is_configured(app: App, tmp_path: Path) -> None:
    (tmp_path / "airy.yaml").write_text("http: {port: 7000}")

    assert main(["up", "--no-console"]) == 0

    (call,) = app.calls
    assert call.config.http.port == 7000
    assert (call.components, call.ephemeral, call.demo) == (None, False, False)


def test_run_takes_components_by_any_name(app: App) -> None:
    assert main(["run", "integration-webhook", "http"]) == 0

    assert app.calls[0].components == {"webhook-publisher", "webhook-consumer", "http"}


@pytest.mark.parametrize("arguments", [["demo"], ["up", "--demo"]])
def test_the_demo_has_its_own_data_directory(app: App, arguments: list[str]) -> None:
    assert main(arguments) == 0

    assert app.calls[0].demo
    assert app.calls[0].config.data.directory == ".airy/demo"


def test_the_data_argument_sets_the_directory(app: App) -> None:
    assert main(["up", "--demo", "--data", "/srv/here", "--no-console"]) == 0

    assert app.calls[0].config.data.directory == "/srv/here"


def test_ephemeral_data_is_removed_at_the_end(app: App) -> None:
    assert main(["up", "--ephemeral", "--no-console"]) == 0

    assert app.calls[0].ephemeral
    assert app.directory_existed
    assert not Path(app.calls[0].config.data.directory).exists()


def test_an_invalid_configuration_exits_with_78_before_the_start(
    app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "airy.yaml").write_text("http:\n  prt: 1\nlog:\n  level: loud\n")

    assert main(["up"]) == 78

    told = capsys.readouterr().err.splitlines()
    assert told[0] == "airy.yaml:2: http.prt: unknown key; did you mean port?"
    assert told[1].startswith("airy.yaml:4: log.level: expected one of")
    assert app.calls == []


def test_validate_prints_ok_or_every_problem(app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.yaml").write_text("http: {port: 1}")
    (tmp_path / "bad.yaml").write_text("http: {port: x}\nlogg: {}\n")

    assert main(["config", "validate"]) == 0
    assert main(["config", "validate", "good.yaml"]) == 0
    assert capsys.readouterr().out == "no airy.yaml in this directory: the defaults are OK\ngood.yaml: OK\n"
    assert main(["config", "validate", "bad.yaml"]) == 78
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert main(["config", "validate", "none.yaml"]) == 78


@pytest.mark.parametrize("arguments", [["nope"], ["up", "--nope"], ["run"], ["run", "no-such-component"]])
def test_a_usage_error_exits_with_64(app: App, arguments: list[str]) -> None:
    assert main(arguments) == 64
    assert app.calls == []


def test_version_and_help_exit_with_0(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"airy {airy.__version__}\n"
    assert main(["--help"]) == main(["config", "--help"]) == 0


def _raise(error: BaseException) -> Callable[[], int]:
    def end() -> int:
        raise error

    return end


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda: 70, 70),
        (_raise(InUse("held")), 75),
        (_raise(Unavailable("the disk is full")), 75),
        (_raise(Refused("no such key")), 78),
        (_raise(Misconfigured("the port is in use")), 78),
        (_raise(PermissionError(errno.EACCES, "Permission denied", "/data")), 78),
        (_raise(OSError(errno.EROFS, "Read-only file system", "/data/journal")), 78),
        (_raise(OSError(errno.ENOSPC, "No space left on device", "/data/journal")), 75),
        (_raise(OSError(errno.ENOSPC, "No space left on device")), 75),
        (_raise(OSError(errno.EIO, "Input/output error", "/data/journal")), 70),
        (_raise(ValueError("a bug")), 70),
        (_raise(KeyboardInterrupt()), 130),
        (_raise(ExceptionGroup("both", [Unavailable("later"), Refused("never")])), 78),
        (_raise(ExceptionGroup("all", [Unavailable("later"), ExceptionGroup("in", [ValueError("bug")])])), 70),
    ],
)
def test_the_type_of_an_error_decides_the_exit_code(
    app: App, end: Callable[[], int], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    app.end = end

    assert main(["up", "--no-console"]) == code


def test_an_error_is_printed_on_stderr(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    app.end = _raise(InUse("./.airy is in use by process 7: stop it, or choose another directory"))

    main(["up", "--no-console"])

    assert "airy: ./.airy is in use by process 7" in capsys.readouterr().err


def test_a_path_that_cannot_be_used_is_one_sentence(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    app.end = _raise(OSError(errno.EROFS, "Read-only file system", "/data/journal"))

    main(["up", "--no-console"])

    sentence = "airy: cannot use /data/journal: read-only file system; correct the path or its permissions\n"
    assert capsys.readouterr().err == sentence


def test_a_failure_behind_the_live_view_shows_the_end_of_the_log(
    app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".airy/log").mkdir(parents=True)
    (tmp_path / ".airy/log/airy.jsonl").write_text("".join(f"line {number}\n" for number in range(100)))
    app.end = lambda: 70

    main(["up", "--console"])

    told = capsys.readouterr().err.splitlines()
    assert told[0].endswith(".airy/log/airy.jsonl:")
    assert told[1:] == [f"line {number}" for number in range(80, 100)]


def test_the_arguments_configure_a_simulated_provider(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    from airy.sim import run
    from airy.sim.provider import ROUGH, Behaviour, SimServer

    served: list[SimServer[Any]] = []

    def ran(server: SimServer[Any]) -> int:
        served.append(server)
        return 0

    monkeypatch.setattr(run, "run_sim", ran)

    assert main(["sim", "messenger", "--target", "http://127.0.0.1:1", "--customers", "3", "--rough"]) == 0
    assert main(["sim", "graph"]) == 0

    given, default = (server.options for server in served)
    assert (given.target_url, given.customers, given.behaviour) == ("http://127.0.0.1:1", 3, ROUGH)
    assert (default.target_url, default.customers, default.behaviour) == (None, 0, Behaviour())
    assert [account.kind for account in default.accounts] == ["facebook", "instagram", "whatsapp"]


def test_config_show_masks_secrets_and_shows_the_defaults(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    Path("airy.yaml").write_text(
        "security: {systemToken: canary-token-0123}\nqueue: {redis: {url: 'redis://:canary@h'}}\n"
    )

    assert main(["config", "show"]) == 0
    shown = capsys.readouterr().out
    assert "canary" not in shown
    assert yaml.safe_load(shown)["security"]["systemToken"] == MASK
    assert yaml.safe_load(shown)["components"]["webhook"]["consumer"]["inFlightMax"] == 200
    assert main(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == yaml.safe_load(shown)


def test_a_flat_component_key_prints_a_warning_and_starts(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    Path("airy.yaml").write_text("components: {webhook-consumer: {timeoutS: 3}}\n")

    assert main(["up", "--no-console"]) == 0
    assert app.calls[0].config.section(ConsumerSection).timeout_s == 3.0
    assert "airy.yaml:1: components.webhook-consumer is deprecated" in capsys.readouterr().err


def test_sources_are_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sources", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [spec.name for spec in SOURCES]
    for spec in SOURCES:
        assert main(["sources", "info", spec.name]) == 0
        shown = capsys.readouterr().out
        assert all(path in shown for path in spec.webhooks)
        assert all(f"{kind.name}: {kind.title}" in shown for kind in spec.kinds)
        assert "None" not in shown
    assert main(["sources", "info", "telegran"]) == 64
    assert "did you mean telegram?" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"airy {command}" in capsys.readouterr().out


def test_help_imports_no_expensive_module() -> None:
    """Help is fast, of all commands, because it loads only click and rich."""
    heavy = "airy.app aiohttp litestar structlog apsw uvicorn cryptography yaml msgspec anyio textual asyncio"
    program = (
        "import sys; from airy.cli import main; from airy.cli.root import COMMANDS;"
        "[main([*command, '--help']) for command in ([], *([name] for name in COMMANDS))];"
        f"print([name for name in {heavy.split()} if name in sys.modules], file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)

    assert "Run every enabled component" in done.stdout
    assert done.stderr.strip() == "[]"


def test_every_command_group_of_a_resource_exists() -> None:
    assert {resource.commands for resource in RESOURCES if resource.commands} <= COMMANDS.keys()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["create", "crm"], 64),
        (["create", "crm", "--role", "source"], 64),
        (["create", "crm", "--role", "analyst", "--permission", "write"], 64),
        (["create", "crm", *(f"--permission={each}" for each in get_args(GrantedPermission))], 75),
        (["revoke"], 64),
        (["list"], 75),
    ],
)
def test_token_without_a_scope_or_a_running_process(
    arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".airy/journal").mkdir(parents=True)
    (tmp_path / "airy.yaml").write_text("http: {port: 1}\n")  # nothing answers there
    assert main(["token", *arguments]) == code


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["list"], 0), (["replay"], 64), (["replay", "x", "--all"], 64), (["discard", "--all"], 64), (["show", "x"], 78)],
)
def test_dlq_on_an_empty_journal(
    arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".airy/journal").mkdir(parents=True)
    (tmp_path / "airy.yaml").write_text("http: {port: 1}\n")  # nothing answers there
    assert main(["dlq", *arguments]) == code
    assert code or capsys.readouterr() == ("", "no dead letters\n")
