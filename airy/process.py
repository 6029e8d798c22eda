"""Runs a process of Airy from start to exit code: logging, signals, the console, errors.

What runs is in `airy.app`, arguments are in `airy.cli`. The type of an error decides the exit code.
"""

import errno
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import structlog
from anyio.abc import TaskGroup
from msgspec.structs import replace

from airy import log
from airy.api_client import RequestRefused
from airy.config import Config, data_directory
from airy.config_secrets import secret_values
from airy.errors import Refused, Unavailable
from airy.file_lock import InUse
from airy.http.listener_handover import ListenerHandover
from airy.live_config.live_config import DEMO, IN_MEMORY, LiveConfig
from airy.live_config.reloads import run_with_reloads
from airy.live_config.source import ConfigSource
from airy.secret import Secret
from airy.shutdown import FAILED, INTERRUPTED, Shutdown, Stoppable

OK = 0
USAGE = 64
CONFLICT = 65
NOT_FOUND = 66
TEMPORARY_FAILURE = 75  # a dependency is unavailable: the same command may succeed later
NO_PERMISSION = 77
INVALID = 78
BROKEN_PIPE = 141  # as of a program that SIGPIPE ends
OF_STATUS = {401: NO_PERMISSION, 403: NO_PERMISSION, 404: NOT_FOUND, 409: CONFLICT}  # any other 4xx: USAGE
UNUSABLE = frozenset(  # errors of a path that an operator has to correct
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ELOOP,
        errno.ENAMETOOLONG,
    }
)
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
SEVERITY = (
    OK,
    TEMPORARY_FAILURE,
    NOT_FOUND,
    CONFLICT,
    USAGE,
    NO_PERMISSION,
    INVALID,
    BROKEN_PIPE,
    INTERRUPTED,
    FAILED,
)

LOG_FILE = "log/airy.jsonl"
LOG_LINES_SHOWN_MAX = 20
LOG_BYTES_SHOWN_MAX = 65_536
HINT_S = 5.0
DEMO_DIRECTORY = "demo"

R = TypeVar("R")
Started = Callable[[Stoppable], None]
Up = Callable[[Config, Started, ListenerHandover], Awaitable[int]]
View = Callable[[Stoppable, Callable[[], None]], Awaitable[None]]  # the system, and what stops it


def run(
    config: Config,
    *,
    components: frozenset[str] | None = None,
    ephemeral: bool = False,
    demo: bool = False,
    console: bool = False,
    source: ConfigSource | None = None,
) -> int:
    """Run the system until it ends. Returns the exit code. `source`: where `config` comes from."""
    from airy import app  # noqa: PLC0415 - it imports everything, which would slow `airy --help` down

    with ExitStack() as held:
        if ephemeral:
            config = _with_directory(config, held.enter_context(tempfile.TemporaryDirectory(prefix="airy-")))
        log_file = data_directory(config) / LOG_FILE if console else None
        source = source or ConfigSource(None, os.environ)
        live = LiveConfig(
            source.config_of(source.read()),
            source,
            chosen=components,
            fixed=IN_MEMORY if ephemeral else DEMO if demo else "",
        )

        async def up(config: Config, started: Started, handover: ListenerHandover) -> int:
            return await app.up(
                config,
                components=components,
                ephemeral=ephemeral,
                demo=demo,
                on_started=started,
                configuration=live,
                handover=handover,
            )

        view = partial(_view, log_file=log_file, writes=demo) if console else None

        def task() -> int:
            configure_log(config, log_file)
            return run_async(_main, up, view, log_file, config, live)

        code = exit_code_of(task)
        if code != OK and log_file is not None:
            _show_tail(log_file)
        return code


def run_async(task: Callable[..., Awaitable[R]], *arguments: object) -> R:
    """Run `task` on uvloop, as every process of Airy."""
    return anyio.run(task, *arguments, backend="asyncio", backend_options={"use_uvloop": True})


def configure_log(config: Config, file: Path | None = None) -> None:
    log.configure(level=config.log.level, format=config.log.format, secrets=secret_values(config), file=file)


def demo_config(config: Config) -> Config:
    """The demo keeps its data in a subdirectory."""
    return _with_directory(config, str(Path(config.data.directory) / DEMO_DIRECTORY))


def exit_code_of(task: Callable[[], int]) -> int:
    """The exit code of `task`: its own, or that of its error, which is reported on stderr."""
    try:
        return task()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
    except Exception as lone:  # noqa: BLE001 - the last handler of the process: reported, and mapped to an exit code
        errors = [lone]
    for error in errors:
        _report(error)
    return max((_code(error) for error in errors), key=SEVERITY.index)


async def _main(up: Up, view: View | None, log_file: Path | None, config: Config, live: LiveConfig) -> int:
    viewing = _Viewing(view)

    def draining() -> None:
        viewing.end()  # it would show an instance that shuts down
        if view is not None:
            sys.stderr.write("airy: stopping; Ctrl-C again leaves at once\n")

    shutdown, handover = Shutdown(on_drain=draining), ListenerHandover()
    handover.wanted = lambda: live.reloading and not shutdown.draining

    async def run_once(config: Config, note_started: Callable[[], None]) -> int:
        def started(running: Stoppable) -> None:
            shutdown.running = running
            note_started()
            structlog.get_logger("airy").info("process.started", url=running.url)
            viewing.show(tasks, running, shutdown.stop_running)

        shutdown.running = None
        return await up(config, started, handover)

    async with anyio.create_task_group() as tasks:
        await tasks.start(shutdown.handle_signals)
        tasks.start_soon(_report_slow_start, shutdown, log_file)
        code = OK
        with shutdown.scope:
            code = await run_with_reloads(
                run_once,
                live,
                config,
                stopping=lambda: shutdown.draining,
                configure=lambda config: configure_log(config, log_file),
                explain=_explained,
            )
        handover.close()
        tasks.cancel_scope.cancel()
    return code


class _Viewing:
    """Shows a system, and goes on while it reloads; a new address or token needs a new view."""

    def __init__(self, view: View | None) -> None:
        self._view = view
        self._scope = anyio.CancelScope()
        self._shown: tuple[str, Secret | None] | None = None

    def show(self, tasks: TaskGroup, running: Stoppable, stop: Callable[[], None]) -> None:
        if self._view is None or self._shown == (running.url, running.token):
            return
        self.end()
        self._shown, self._scope = (running.url, running.token), anyio.CancelScope()
        tasks.start_soon(self._show, self._view, running, stop, self._scope)

    async def _show(self, view: View, running: Stoppable, stop: Callable[[], None], scope: anyio.CancelScope) -> None:
        with scope:
            await view(running, stop)

    def end(self) -> None:
        self._scope.cancel()


async def _report_slow_start(shutdown: Shutdown, log_file: Path | None) -> None:
    """Reports a slow start on stderr, when the log goes to a file."""
    await anyio.sleep(HINT_S)
    if shutdown.running is None and log_file is not None:
        sys.stderr.write(f"airy: still starting after {HINT_S:g} s; {log_file} says why\n")


async def _view(running: Stoppable, stop: Callable[[], None], log_file: Path | None, *, writes: bool) -> None:
    """The console, whose end stops the system; outside a terminal plain lines."""
    if sys.stdout.isatty():
        from airy.tui.console.child import show_console  # noqa: PLC0415 - only when it is shown

        await show_console(running.url, running.token, writes=writes)
        stop()
    else:
        from airy.tui import live  # noqa: PLC0415 - only when it is shown

        await live.watch(running.url, running.token, log_file)


def _with_directory(config: Config, directory: str) -> Config:
    return replace(config, data=replace(config.data, directory=directory))


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _code(error: BaseException) -> int:
    match error:
        case Unavailable() | InUse():
            return TEMPORARY_FAILURE
        case RequestRefused():
            return OF_STATUS.get(error.status, USAGE)
        case Refused():
            return INVALID
        case OSError():
            return _code_of_system(error)
        case KeyboardInterrupt():
            return INTERRUPTED
        case _:
            return FAILED


def _code_of_system(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    if error.errno in NO_ROOM:
        return TEMPORARY_FAILURE
    return INVALID if error.filename is not None and error.errno in UNUSABLE else FAILED


def _report(error: BaseException) -> None:
    code = _code(error)
    if code == BROKEN_PIPE:
        return
    if code == FAILED:
        structlog.get_logger().error("process.failed", exc_info=error)
    sys.stderr.write(f"airy: {_sentence(error)}\n")


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and _code(error) != FAILED:
        reason = (error.strerror or type(error).__name__).lower()
        where = f"cannot use {error.filename}: " if error.filename is not None else ""
        advice = "free some space" if error.errno in NO_ROOM else "correct the path or its permissions"
        return f"{where}{reason}; {advice}"
    return str(error) or type(error).__name__


def _explained(error: BaseException) -> str:
    errors = list(_leaves(error)) if isinstance(error, BaseExceptionGroup) else [error]
    return "; ".join(map(_sentence, errors))


def _show_tail(path: Path) -> None:
    """Print the end of the log, which went to a file because the terminal was in use."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_BYTES_SHOWN_MAX))
        lines = file.read().decode("utf-8", "replace").splitlines()[-LOG_LINES_SHOWN_MAX:]
    sys.stderr.write("\n".join([f"the end of {path}:", *lines, ""]))
