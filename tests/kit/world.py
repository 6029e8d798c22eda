"""Worlds to run async code in: virtual time on both event loops, and a seeded order of tasks on trio.

In virtual time nothing sleeps: when every task waits, the clock jumps to the next deadline. On trio a seed
fixes the interleaving, so a failing seed is a bug report. The order of tasks is not public in trio: two
private names are touched, here and nowhere else, and `seed_scheduler` fails loudly when they move.
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
    """From here on, trio picks among runnable tasks by this seed."""
    if not hasattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING") or not hasattr(trio_run, "_r"):
        raise AssertionError(f"trio {trio.__version__} moved its scheduler's switch: see tests/kit/world.py")
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r.seed(seed)


def trio_world(seed: int) -> Backend:
    seed_scheduler(seed)
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def asyncio_world() -> Backend:
    return "asyncio", {"loop_factory": lambda: looptime.new_event_loop(start=0)}


def run_seeded(seed: int, function: Callable[..., Awaitable[R]], *arguments: object) -> R:
    """Run it to its end on trio, in virtual time, with the interleaving that belongs to the seed."""
    backend, options = trio_world(seed)
    return anyio.run(function, *arguments, backend=backend, backend_options=options)
