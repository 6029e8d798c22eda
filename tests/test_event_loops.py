"""The event loops of the tests: virtual time, seeded order, and a loud failure when trio's private names move."""

import time

import anyio
import anyio.lowlevel
import pytest
import trio
import trio._core._run as trio_run

from tests.kit.event_loops import asyncio_backend, run_seeded, seed_scheduler


async def interleaving() -> list[int]:
    """The order in which five tasks ran; only the scheduler decides it."""
    order: list[int] = []

    async def run(number: int) -> None:
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
            order.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(run, number)
    return order


def test_a_seed_gives_one_interleaving_and_seeds_differ() -> None:
    assert run_seeded(1, interleaving) == run_seeded(1, interleaving)
    assert len({tuple(run_seeded(seed, interleaving)) for seed in range(10)}) == 10


def test_one_seed_gives_one_interleaving_whatever_ran_before() -> None:
    first = run_seeded(3, interleaving)
    run_seeded(4, interleaving)
    assert run_seeded(3, interleaving) == first


def test_a_run_gets_arguments_and_gives_its_result_or_its_error() -> None:
    async def divide(a: int, b: int) -> float:
        await anyio.sleep(3600)
        return a / b

    assert run_seeded(0, divide, 6, 3) == 2
    with pytest.raises(ZeroDivisionError):
        run_seeded(0, divide, 6, 0)


async def test_an_hour_of_virtual_time_passes_exactly() -> None:
    """The test's time-out is shorter than an hour."""
    began_at = anyio.current_time()
    with anyio.move_on_after(3600):
        await anyio.sleep_forever()
    assert anyio.current_time() - began_at == pytest.approx(3600, abs=1e-6)


@pytest.mark.usefixtures("real_time")
async def test_real_time_is_available_on_request() -> None:
    machine_began_at = time.perf_counter()
    await anyio.sleep(0.02)
    assert time.perf_counter() - machine_began_at > 0.015


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncio_alone_runs_on_the_machines_clock(anyio_backend_name: str) -> None:
    machine_began_at = time.perf_counter()
    await anyio.sleep(0.02)
    assert time.perf_counter() - machine_began_at > 0.015
    assert anyio_backend_name == "asyncio"


@pytest.mark.parametrize("anyio_backend", [asyncio_backend()])
async def test_asyncio_alone_may_be_virtual_too(anyio_backend_name: str) -> None:
    await anyio.sleep(3600)
    assert anyio_backend_name == "asyncio"


@pytest.mark.parametrize("name", ["_ALLOW_DETERMINISTIC_SCHEDULING", "_r"])
def test_moved_private_names_of_trio_are_reported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(trio_run, name)
    with pytest.raises(AssertionError, match=f"trio {trio.__version__} moved"):
        seed_scheduler(0)


def test_the_switch_of_trio_is_still_read_by_its_scheduler() -> None:
    """If the names stay but lose their effect, equal seeds give different orders, or different seeds equal ones."""
    orders = {tuple(run_seeded(seed, interleaving)) for seed in (1, 1, 1, 2)}
    assert len(orders) == 2
