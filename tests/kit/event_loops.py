"""Event loops for tests: virtual time on asyncio and trio, and a seeded task order on trio.

In virtual time no test sleeps: when every task waits, the clock jumps to the next deadline. On trio a seed fixes the
interleaving, so that a failing seed replays. The task order is not public in trio: two private names are used, only
here, and `seed_scheduler` fails when they move.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import looptime
import trio
import trio._core._run as trio_run
from trio.testing import MockClock

R = TypeVar("R")
Backend = tuple[str, dict[str, Any]]


def seed_scheduler(seed: int) -> None:
    """Make trio choose among runnable tasks by this seed from now on."""
    if not hasattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING") or not hasattr(trio_run, "_r"):
        raise AssertionError(f"trio {trio.__version__} moved its scheduler's switch: see tests/kit/event_loops.py")
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r.seed(seed)


def trio_backend(seed: int) -> Backend:
    seed_scheduler(seed)
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def asyncio_backend() -> Backend:
    return "asyncio", {"loop_factory": lambda: looptime.new_event_loop(start=0)}


def run_seeded(seed: int, function: Callable[..., Awaitable[R]], *arguments: object) -> R:
    """Run to the end on trio, in virtual time, with the interleaving of the seed."""
    backend, options = trio_backend(seed)
    return anyio.run(function, *arguments, backend=backend, backend_options=options)
