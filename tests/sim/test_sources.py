"""One process with all sources of the catalogue under seeded faults: G1, G2 and G7 hold at every provider.

`SOURCE_SEEDS` is the number of seeds, `AIRY_SEED` the first. A failing seed prints its replay command.
"""

import os

import pytest

from airy.actors import message_sender
from airy.sources.api import Failed, Lost, Outcome
from tests.kit.event_loops import run_seeded
from tests.sim.mixed_simulation import MixedSimulation, mixed_problems
from tests.sim.simulation import SimulationSize

SEEDS = int(os.environ.get("SOURCE_SEEDS", "12"))
FIRST = int(os.environ.get("AIRY_SEED", "0"))
PLANTED_SEEDS_MAX = 10

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def simulate(seed: int) -> list[str]:
    async def run() -> list[str]:
        simulation = MixedSimulation(seed, SimulationSize())
        await simulation.run()
        return await mixed_problems(simulation)

    return run_seeded(seed, run)


def test_all_simulated_sources_together_keep_the_guarantees() -> None:
    for seed in range(FIRST, FIRST + SEEDS):
        replay = f"replay: AIRY_SEED={seed} SOURCE_SEEDS=1 pytest tests/sim/test_sources.py -k together"

        assert simulate(seed) == [], replay


def test_a_planted_repetition_of_lost_calls_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = message_sender.send_facts.ended

    def repeat(message: object, outcome: Outcome, *more: object) -> object:
        again = Failed(kind="provider", error="no answer", again_s=0.0)
        return ended(message, again if isinstance(outcome, Lost) else outcome, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(message_sender.send_facts, "ended", repeat)
    found = next((wrong for seed in range(PLANTED_SEEDS_MAX) if (wrong := simulate(seed))), [])

    assert any("was called again" in line for line in found)
