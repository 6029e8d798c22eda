"""Two versions side by side: the older holds and says why, nothing is numbered differently, and upgrading ends equal.

`UPGRADE_SEEDS` is the number of seeds, `AIRY_SEED` the first.
"""

import os

import pytest

from tests.kit.event_loops import run_seeded
from tests.sim.checkers import problems, replicas_differ
from tests.sim.cluster import ClusterSize
from tests.sim.rolling_upgrade import RollingUpgrade

SEEDS = int(os.environ.get("UPGRADE_SEEDS", "3"))
FIRST = int(os.environ.get("AIRY_SEED", "0"))
UNKNOWN_KINDS = ("message.edited", "message.queued", "receipt.reported")  # by seed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def unknown_kind(seed: int) -> str:
    return UNKNOWN_KINDS[seed % len(UNKNOWN_KINDS)]


def simulate(seed: int) -> RollingUpgrade:
    async def run() -> RollingUpgrade:
        size = ClusterSize(disruptions=0, people=6, steps=40)
        cluster = RollingUpgrade(seed, size, unknown_kind(seed))
        await cluster.run()
        cluster.violations += await problems(cluster) + await replicas_differ(cluster)
        return cluster

    return run_seeded(seed, run)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_a_rolling_upgrade_numbers_nothing_differently(seed: int) -> None:
    cluster = simulate(seed)

    assert cluster.violations == [], (
        f"replay: AIRY_SEED={seed} UPGRADE_SEEDS=1 pytest tests/sim/test_rolling_upgrade.py"
    )
    assert cluster.holds.keys() == {node.name for node in cluster.older}
    for holds in cluster.holds.values():
        assert holds, "no partition was held: choose other traffic"
        assert {hold.kind for hold in holds} == {unknown_kind(seed)}
        assert all(hold.reason.endswith("is newer than this process; upgrade it") for hold in holds)


def test_skipping_unknown_records_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug is what processes did before: they skipped such records, and numbered later ones differently."""
    monkeypatch.setattr("airy.store.holds.PartitionHolds.passes", _skipped)

    assert any("does not hold" in line or "another change" in line for line in simulate(FIRST).violations)


def _skipped(holds: object, record: object) -> bool:
    return holds._schemas[record.topic].hold(record) is None  # type: ignore[attr-defined]
