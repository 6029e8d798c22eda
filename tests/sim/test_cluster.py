"""Replicas of every component under seeded disruptions: each cluster must become quiescent with every guarantee kept.

`CLUSTER_SEEDS` is the number of seeds, `AIRY_SEED` the first. A failing seed prints the command that replays it.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from airy.actors import message_sender, publisher
from airy.queue.api import NO_ENTRY
from airy.sim.provider import ROUGH
from airy.sources.api import Failed, Lost
from tests.kit.event_loops import run_seeded
from tests.sim.checkers import problems, replicas_differ, trace
from tests.sim.cluster import ClusterSimulation, ClusterSize

SEEDS = int(os.environ.get("CLUSTER_SEEDS", "20"))
FIRST = int(os.environ.get("AIRY_SEED", "0"))
BLOCK = 5
PLANTED_SEEDS_MAX = 20

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def simulate(seed: int, size: ClusterSize) -> tuple[list[str], str]:
    async def run() -> tuple[list[str], str]:
        cluster = ClusterSimulation(seed, size)
        await cluster.run()
        wrong = await problems(cluster) + await replicas_differ(cluster)
        if cluster.stopped_in_s is None:
            wrong.append("not every process stopped in time")
        return [*wrong, *(cluster.disruptions if wrong else ())], await trace(cluster)

    return run_seeded(seed, run)


@pytest.mark.parametrize("block", range(-(-SEEDS // BLOCK)))
def test_every_cluster_keeps_every_guarantee(block: int) -> None:
    """X-12."""
    first = FIRST + block * BLOCK
    for seed in range(first, min(first + BLOCK, FIRST + SEEDS)):
        wrong, _ = simulate(seed, ClusterSize())

        assert wrong == [], f"replay: AIRY_SEED={seed} CLUSTER_SEEDS=1 pytest tests/sim/test_cluster.py"


def test_one_seed_gives_one_trace() -> None:
    assert simulate(1, ClusterSize()) == simulate(1, ClusterSize())


# --- planted bugs that need several processes: the checkers must find them

Plant = Callable[[pytest.MonkeyPatch], None]


def resend_orphaned_attempts(patch: pytest.MonkeyPatch) -> None:
    """An attempt whose worker died or is suspended counts as failed."""

    def failed(reason: str) -> Lost | Failed:
        gone = reason.startswith("the worker that called")
        return Failed(kind="provider", error=reason, again_s=0.0) if gone else Lost(reason)

    patch.setattr(message_sender, "Lost", failed)


def commit_when_queued(patch: pytest.MonkeyPatch) -> None:
    """The position is committed when a change is queued, not when it is delivered: a lost queue loses the change."""

    def early(self: Any, owned: Any, mark: Any) -> int:
        return mark.last[0] + 1 if mark.last != NO_ENTRY else 0

    patch.setattr(publisher.Publisher, "_finished", early)


SILENT = ClusterSize(  # only the worker reports the outcome of a send, and workers crash often
    disruptions=4,
    behaviour=replace(ROUGH, read=0.0, delivered=0.0, echoes=False),
    rates={("publish", "crash"): 0.04, ("published", "crash"): 0.04},
)
PLANTED: Mapping[str, tuple[Plant, ClusterSize]] = {
    "resend orphaned attempts": (resend_orphaned_attempts, SILENT),
    "commit when queued": (commit_when_queued, ClusterSize()),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, size = PLANTED[name]
    plant(monkeypatch)

    found = next((wrong for seed in range(PLANTED_SEEDS_MAX) if (wrong := simulate(seed, size)[0])), [])

    assert found, f"{name} was not found in {PLANTED_SEEDS_MAX} clusters"
