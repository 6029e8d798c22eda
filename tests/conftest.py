"""Fixtures for every test; helpers live in `tests/kit`.

An `async def test_…` runs twice, on asyncio and on trio, in virtual time that starts at 0 and jumps whenever
all tasks wait. A test that needs the real world says which part of it:

- `@pytest.mark.usefixtures("real_time")`: both event loops, the machine's clock (threads, timing);
- `@pytest.mark.parametrize("anyio_backend", ["asyncio"])`: asyncio alone, the machine's clock (sockets);
- `@pytest.mark.parametrize("anyio_backend", [asyncio_backend()])`: asyncio alone, virtual time.

For a whole module assign any of these to `pytestmark`. `AIRY_SEED` chooses the seed, `HYPOTHESIS_PROFILE`
among the profiles below, `EVENT_LOOPS` the event loops: `make check` runs these tests on asyncio only.
"""

import gc
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.kit.event_loops import Backend, asyncio_backend, trio_backend
from tests.kit.servers.fixtures import kafka, kafka_cluster_factory, redis_server

__all__ = ["kafka", "kafka_cluster_factory", "redis_server"]  # defined beside their servers

_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
settings.register_profile("fast", _COMMON, max_examples=15)  # `make check`
settings.register_profile("dev", _COMMON, max_examples=50)
settings.register_profile("ci", _COMMON, max_examples=50, derandomize=True)
settings.register_profile("thorough", _COMMON, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

TESTS = Path(__file__).parent
EVENT_LOOPS = os.environ.get("EVENT_LOOPS", "asyncio,trio").split(",")
if not {"asyncio", "trio"}.issuperset(EVENT_LOOPS):
    raise pytest.UsageError(f"EVENT_LOOPS names asyncio, trio or both with a comma between, not {EVENT_LOOPS}")

# A crash is logged with its traceback; the renderer's choice, every local variable of every frame, takes seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Twice as many as there are processors: many tests wait, for another process or for a time to pass."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return processors * 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Distribute modules where pytest-xdist would distribute single tests."""
    from tests.kit.scheduling import ModuleScheduling

    return ModuleScheduling(config, log) if config.getvalue("dist") == "load" else None


LONG_S = 600.0
"""A test that may take longer has a small module behind it: a worker holds the next tests already, and they wait."""


EDGES = ("app", "cli", "commands", "conformance", "http", "sim_provider", "sources", "tui")
"""Tests of what runs on asyncio only, outside of tests, and leaves concurrency to the actors beneath. The task order of
trio is for actors, bus, queue, store and simulations; `EVENT_LOOPS=asyncio,trio` runs these on both as well. So does it
with slow tests: the actors in them have tests that are not slow, which run on both.
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the tests with the longest time-out first, and small modules last: a long test or a large module that starts
    last leaves the other workers idle.
    """
    if "EVENT_LOOPS" not in os.environ:
        twice = [item for item in items if _loop(item) == "trio" and _runs_on_asyncio_only(item)]
        config.hook.pytest_deselected(items=twice)
        left_out = set(twice)
        items[:] = [item for item in items if item not in left_out]
    kinds = ("e2e", "cluster", "slow")
    sizes = Counter(item.path for item in items) if hasattr(config, "workerinput") else Counter()
    items.sort(
        key=lambda item: (
            -_may_take_s(item),
            [item.get_closest_marker(kind) is None for kind in kinds],
            -sizes[item.path],
        )
    )
    long = [item for item in items if _may_take_s(item) > LONG_S]
    rest = items[len(long) :]
    items[:] = [each for item in long for each in (item, *(rest.pop() for _ in rest[:1]))] + rest


_frozen: list[bool] = [False]  # `gc.get_freeze_count` counts one by one: 20 ms for each test
_unfreeze = gc.unfreeze


def _unfreeze_and_tell() -> None:
    _frozen[0] = False
    _unfreeze()


gc.unfreeze = _unfreeze_and_tell


def pytest_runtest_setup() -> None:
    """Keep the collected tests, half a million objects, out of garbage collections. An Airy that ends in this process
    unfreezes them.
    """
    if not _frozen[0]:
        gc.collect()
        gc.freeze()
        _frozen[0] = True


def _runs_on_asyncio_only(item: pytest.Item) -> bool:
    return item.path.relative_to(TESTS).parts[0] in EDGES or item.get_closest_marker("slow") is not None


def _loop(item: pytest.Item) -> object:
    return item.callspec.params.get("anyio_backend") if hasattr(item, "callspec") else None


def _may_take_s(item: pytest.Item) -> float:
    limit = item.get_closest_marker("timeout")
    return float(limit.args[0]) if limit else 0.0


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A test that starts a program within itself configures logging, of which later tests read lines."""
    configured, before = structlog.is_configured(), structlog.get_config()
    yield
    if not configured:
        structlog.reset_defaults()
    elif structlog.get_config() != before:
        structlog.configure(**before)


@pytest.fixture(autouse=True)
def left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a client library leaves open when its server dies at the wrong moment fails no test, whenever the collector
    finds it; and it goes with that test: else it is found later, in one that has nothing to do with it.
    """
    if not any(request.node.get_closest_marker(kind) for kind in ("e2e", "cluster")):
        yield
        return
    entered: list[warnings.catch_warnings[None]] = []

    def collecting(phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            entered.append(warnings.catch_warnings())
            entered[-1].__enter__()
            warnings.simplefilter("ignore", ResourceWarning)
        elif entered:
            entered.pop().__exit__(None, None, None)

    gc.callbacks.append(collecting)
    try:
        yield
        gc.collect()
        gc.freeze()  # the modules that this test imported: each collection would visit them again
    finally:
        gc.callbacks.remove(collecting)


@pytest.fixture
def seed() -> int:
    """Printed when a test fails: `AIRY_SEED=… pytest …` replays it."""
    chosen = int(os.environ.get("AIRY_SEED", "0"))
    print(f"AIRY_SEED={chosen}")  # noqa: T201
    return chosen


@pytest.fixture
def real_time() -> None:
    """Ask for it to get the machine's clock."""


@pytest.fixture(params=EVENT_LOOPS)
def anyio_backend(request: pytest.FixtureRequest, seed: int) -> Backend:
    if "real_time" in request.fixturenames:
        return request.param, {}
    return trio_backend(seed) if request.param == "trio" else asyncio_backend()
