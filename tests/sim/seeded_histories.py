"""The frame of tests that run a simulation by seed and judge the history of its clients.

`AIRY_SEED` is the first seed, another variable their number. A failing seed prints the command that replays it.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import pytest

from tests.kit.event_loops import run_seeded

BLOCK = 50  # seeds per test, so that processors share them
TESTS = Path(__file__).parents[1]

Plant = Callable[[pytest.MonkeyPatch], None]


class HistorySimulation(Protocol):
    """`run` sets `quiescent` if every process folded everything within its time, once there were no more faults."""

    quiescent: bool

    async def run(self) -> None: ...

    def violations(self) -> list[str]: ...


S = TypeVar("S", bound=HistorySimulation)


class SeededHistories(Generic[S]):
    """`make` returns the simulation of a seed. `file` is that of the test, for the command that replays a seed."""

    def __init__(self, make: Callable[[int], S], seeds_variable: str, file: str, *, seeds: int = 200) -> None:
        self._make = make
        self._seeds_variable = seeds_variable
        self._file = Path(file).relative_to(TESTS.parent)
        self._first = int(os.environ.get("AIRY_SEED", "0"))
        self._seeds = int(os.environ.get(seeds_variable, seeds))

    @property
    def blocks(self) -> range:
        """Each is one test. The rarest planted bug is found within 60 seeds."""
        return range(-(-self._seeds // BLOCK))

    def simulate(self, seed: int) -> S:
        async def run() -> S:
            simulation = self._make(seed)
            await simulation.run()
            return simulation

        return run_seeded(seed, run)

    def check(self, seeds: range) -> None:
        for seed in seeds:
            simulation = self.simulate(seed)
            replay = f"replay: AIRY_SEED={seed} {self._seeds_variable}=1 pytest {self._file}"

            assert simulation.quiescent, replay
            assert simulation.violations() == [], replay

    def check_block(self, block: int) -> None:
        first = self._first + block * BLOCK
        self.check(range(first, min(first + BLOCK, self._first + self._seeds)))

    def must_find(self, plant: Plant, patch: pytest.MonkeyPatch, *, seeds_max: int) -> None:
        """A planted bug."""
        plant(patch)
        found = next((wrong for seed in range(seeds_max) if (wrong := self.simulate(seed).violations())), [])
        assert found, f"{plant.__name__} was not found in {seeds_max} histories"


def by_name(*plants: Plant) -> Mapping[str, Plant]:
    return {plant.__name__: plant for plant in plants}
