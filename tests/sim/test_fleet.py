"""Replicas of every component under seeded trouble, many fleets: each must come to peace with every promise kept.

`FLEET_SEEDS` says how many, `AIRY_SEED` where they begin. A failing fleet prints the command that replays it.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from airy.actors import connector
from airy.actors.webhooks import publisher
from airy.actors.webhooks.queue import NOTHING
from airy.sim.messenger.options import ROUGH
from airy.sources.api import Failed, Lost
from tests.kit.world import run_seeded
from tests.sim.checkers import problems, replicas_differ, trace
from tests.sim.fleet import Fleet, FleetShape
from tests.sim.world import DROP

SEEDS = int(os.environ.get("FLEET_SEEDS", "20"))
FIRST = int(os.environ.get("AIRY_SEED", "0"))
BLOCK = 5
PLANTED_FLEETS_MAX = 20

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    structlog.configure(processors=[DROP])


def lived(seed: int, shape: FleetShape) -> tuple[list[str], str]:
    async def live() -> tuple[list[str], str]:
        fleet = Fleet(seed, shape)
        await fleet.live()
        wrong = await problems(fleet) + await replicas_differ(fleet)
        if fleet.stopped_in_s is None:
            wrong.append("not every process stopped in time")
        return [*wrong, *(fleet.troubles if wrong else ())], await trace(fleet)

    return run_seeded(seed, live)


@pytest.mark.parametrize("block", range(-(-SEEDS // BLOCK)))
def test_every_fleet_keeps_every_promise(block: int) -> None:
    first = FIRST + block * BLOCK
    for seed in range(first, min(first + BLOCK, FIRST + SEEDS)):
        wrong, _ = lived(seed, FleetShape())

        assert wrong == [], f"replay: AIRY_SEED={seed} FLEET_SEEDS=1 pytest tests/sim/test_fleet.py"


def test_one_seed_is_one_story() -> None:
    assert lived(1, FleetShape()) == lived(1, FleetShape())


# --- what only many processes can get wrong, planted on purpose: the checkers must find it

Plant = Callable[[pytest.MonkeyPatch], None]


def send_again_for_whoever_is_gone(patch: pytest.MonkeyPatch) -> None:
    """An attempt whose worker died or is away is taken for one that failed."""

    def failed(reason: str) -> Lost | Failed:
        gone = reason.startswith("whoever called")
        return Failed(kind="provider", error=reason, again_s=0.0) if gone else Lost(reason)

    patch.setattr(connector, "Lost", failed)


def commit_what_is_queued(patch: pytest.MonkeyPatch) -> None:
    """The position moves when a change is queued, not when it is delivered: a queue that is lost takes it along."""

    def early(self: Any, owned: Any, mark: Any) -> int:
        return mark.last[0] + 1 if mark.last != NOTHING else 0

    patch.setattr(publisher.Publisher, "_finished", early)


SILENT = FleetShape(  # nobody but the worker says what became of a send, and workers die a lot
    troubles=4,
    behaviour=replace(ROUGH, read=0.0, delivered=0.0, echoes=False),
    rates={("publish", "crash"): 0.04, ("published", "crash"): 0.04},
)
PLANTED: Mapping[str, tuple[Plant, FleetShape]] = {
    "send again for whoever is gone": (send_again_for_whoever_is_gone, SILENT),
    "commit what is queued": (commit_what_is_queued, FleetShape()),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, shape = PLANTED[name]
    plant(monkeypatch)

    found = next((wrong for seed in range(PLANTED_FLEETS_MAX) if (wrong := lived(seed, shape)[0])), [])

    assert found, f"{name} was not found in {PLANTED_FLEETS_MAX} fleets"
