"""The whole tree under seeded faults, many worlds: each must come to peace with every promise kept.

`SEEDS` says how many (CI: 500), `AIRY_SEED` where they begin. A failing world prints the command that replays it.
"""

import os

import pytest
import structlog

from tests.kit.world import run_seeded
from tests.sim.checkers import problems, trace
from tests.sim.world import DROP, MILD, Shape, World

SEEDS = int(os.environ.get("SEEDS", "500" if os.environ.get("CI") else "60"))
FIRST = int(os.environ.get("AIRY_SEED", "0"))
BLOCK = 20  # worlds per test, so that they spread over processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    structlog.configure(processors=[DROP])


def lived(seed: int, shape: Shape) -> tuple[list[str], str]:
    """What is wrong with that world in the end, and its trace."""

    async def live() -> tuple[list[str], str]:
        world = World(seed, shape)
        await world.live()
        return await problems(world), await trace(world)

    return run_seeded(seed, live)


@pytest.mark.parametrize("block", range(-(-SEEDS // BLOCK)))
def test_every_world_keeps_every_promise(block: int) -> None:
    first = FIRST + block * BLOCK
    for seed in range(first, min(first + BLOCK, FIRST + SEEDS)):
        wrong, _ = lived(seed, Shape())

        assert wrong == [], f"replay: AIRY_SEED={seed} SEEDS=1 pytest tests/sim/test_simulation.py"


def test_a_world_without_faults_keeps_every_promise() -> None:
    wrong, _ = lived(FIRST, MILD)

    assert wrong == []


def test_one_seed_is_one_story() -> None:
    assert lived(7, Shape()) == lived(7, Shape())
    assert lived(7, Shape())[1] != lived(8, Shape())[1]
