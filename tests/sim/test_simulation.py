"""The whole tree under seeded faults: each simulation must become quiescent with every guarantee kept.

`SEEDS` is the number of seeds (CI: 100), `AIRY_SEED` the first. A failing seed prints the command that replays it.
"""

import os

import pytest

from tests.kit.event_loops import run_seeded
from tests.sim.checkers import problems, trace
from tests.sim.simulation import FAULT_FREE, Simulation, SimulationSize

SEEDS = int(os.environ.get("SEEDS", "100" if os.environ.get("CI") else "60"))
FIRST = int(os.environ.get("AIRY_SEED", "0"))
BLOCK = 20  # seeds per test, so that tests spread over processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def simulate(seed: int, size: SimulationSize) -> tuple[list[str], str]:
    """The violations of that simulation, and its trace."""

    async def run() -> tuple[list[str], str]:
        simulation = Simulation(seed, size)
        await simulation.run()
        return await problems(simulation), await trace(simulation)

    return run_seeded(seed, run)


@pytest.mark.parametrize("block", range(-(-SEEDS // BLOCK)))
def test_every_simulation_keeps_every_guarantee(block: int) -> None:
    first = FIRST + block * BLOCK
    for seed in range(first, min(first + BLOCK, FIRST + SEEDS)):
        wrong, _ = simulate(seed, SimulationSize())

        assert wrong == [], f"replay: AIRY_SEED={seed} SEEDS=1 pytest tests/sim/test_simulation.py"


def test_a_simulation_without_faults_keeps_every_guarantee() -> None:
    wrong, _ = simulate(FIRST, FAULT_FREE)

    assert wrong == []


def test_one_seed_gives_one_trace() -> None:
    assert simulate(7, SimulationSize()) == simulate(7, SimulationSize())
    assert simulate(7, SimulationSize())[1] != simulate(8, SimulationSize())[1]
