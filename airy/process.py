"""One process of Airy from start to exit code: its logging, its signals, the live view beside it, its
errors.

Not here: what runs (`airy.app`), and any argument (`airy.cli`). The type of an error decides the exit code,
as it decides everything else.
"""

import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import structlog
from anyio.from_thread import start_blocking_portal
from msgspec.structs import replace

from airy import log
from airy.bus.lock import InUse
from airy.config import Config, data_directory, secret_values
from airy.errors import Refused, Unavailable
from airy.shutdown import FAILED, INTERRUPTED, Running, Shutdown

OK = 0
USAGE = 64
LATER = 75  # what it depends on cannot serve: the same command may succeed later
INVALID = 78
SEVERITY = (OK, LATER, INVALID, INTERRUPTED, FAILED)

LOG_FILE = "log/airy.jsonl"
LOG_LINES_SHOWN_MAX = 20
LOG_BYTES_SHOWN_MAX = 65_536
HINT_S = 5.0
DEMO_DIRECTORY = "demo"

R = TypeVar("R")
Started = Callable[[Running], None]
Up = Callable[[Started], Awaitable[int]]
View = Callable[[Running], AbstractContextManager[None]]


def run(
    config: Config,
    *,
    components: frozenset[str] | None = None,
    ephemeral: bool = False,
    demo: bool = False,
    console: bool = False,
) -> int:
    """Run the system until it ends, and say how it ended."""
    from airy import app  # noqa: PLC0415 - it imports everything; `airy --help` need not wait for that

    with ExitStack() as held:
        if ephemeral:
            config = _at(config, held.enter_context(tempfile.TemporaryDirectory(prefix="airy-")))
        log_file = data_directory(config) / LOG_FILE if console else None
        configure_log(config, log_file)

        async def up(started: Started) -> int:
            return await app.up(config, components=components, ephemeral=ephemeral, demo=demo, on_started=started)

        view = partial(_view, log_file=log_file) if console else None
        code = conclude(partial(in_loop, _main, up, view, log_file))
        if code != OK and log_file is not None:
            _show_tail(log_file)
        return code


def in_loop(task: Callable[..., Awaitable[R]], *arguments: object) -> R:
    """Run `task` on the event loop every process of Airy uses."""
    return anyio.run(task, *arguments, backend="asyncio", backend_options={"use_uvloop": True})


def configure_log(config: Config, file: Path | None = None) -> None:
    log.configure(level=config.log.level, format=config.log.format, secrets=secret_values(config), file=file)


def demo_config(config: Config) -> Config:
    """The demonstration keeps its data apart from the real one."""
    return _at(config, str(Path(config.data.directory) / DEMO_DIRECTORY))


def conclude(task: Callable[[], int]) -> int:
    """The exit code of `task`: its own, or what the type of its error means; the error is told on stderr."""
    try:
        return task()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
    except Exception as lone:  # noqa: BLE001 - the last handler of the process: told, and turned into a code
        errors = [lone]
    for error in errors:
        _tell(error)
    return max((_code(error) for error in errors), key=SEVERITY.index)


async def _main(up: Up, view: View | None, log_file: Path | None) -> int:
    with ExitStack() as views:

        def draining() -> None:
            views.close()  # what it would show from here on is an instance that goes away
            if view is not None:
                sys.stderr.write("airy: stopping; Ctrl-C again leaves at once\n")

        shutdown = Shutdown(on_drain=draining)

        def started(running: Running) -> None:
            shutdown.running = running
            structlog.get_logger("airy").info("process.started", url=running.url)
            if view is not None:
                views.enter_context(view(running))

        async with anyio.create_task_group() as tasks:
            await tasks.start(shutdown.obey)
            tasks.start_soon(_hint, shutdown, log_file)
            code = OK
            with shutdown.scope:
                code = await up(started)
            tasks.cancel_scope.cancel()
    return code


async def _hint(shutdown: Shutdown, log_file: Path | None) -> None:
    """A start that takes long is not silent where the log goes to a file."""
    await anyio.sleep(HINT_S)
    if shutdown.running is None and log_file is not None:
        sys.stderr.write(f"airy: still starting after {HINT_S:g} s; {log_file} says why\n")


@contextmanager
def _view(running: Running, log_file: Path | None) -> Iterator[None]:
    """The live view, on an event loop of its own: drawing takes milliseconds that would delay messages."""
    from airy.tui import live  # noqa: PLC0415 - only where somebody looks

    with start_blocking_portal("asyncio", {"use_uvloop": True}) as portal:
        watching = portal.start_task_soon(live.watch, running.url, running.token, log_file)
        try:
            yield
        finally:
            watching.cancel()


def _at(config: Config, directory: str) -> Config:
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
            return LATER
        case Refused():
            return INVALID
        case KeyboardInterrupt():
            return INTERRUPTED
        case _:
            return FAILED


def _tell(error: BaseException) -> None:
    if _code(error) == FAILED:
        structlog.get_logger().error("process.failed", exc_info=error)
    sys.stderr.write(f"airy: {str(error) or type(error).__name__}\n")


def _show_tail(path: Path) -> None:
    """The end of a log that went to a file because the terminal was in use."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_BYTES_SHOWN_MAX))
        lines = file.read().decode("utf-8", "replace").splitlines()[-LOG_LINES_SHOWN_MAX:]
    sys.stderr.write("\n".join([f"the end of {path}:", *lines, ""]))
