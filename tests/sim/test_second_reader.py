"""Two processes with a second, slow reader of changes beside the publisher, under seeded disruptions."""

from collections.abc import Sequence

import anyio
import pytest
from msgspec import structs

from airy import change_readers
from airy.actors.change_sink import ReaderLimits
from airy.actors.runtime import Child
from airy.app.services import Services
from airy.change_readers import WEBHOOK_PUBLISHER, ReaderSpec
from airy.store.api import StoredChange
from airy.store.sqlite import SqliteStore
from tests.kit.change_reader import READER, Recording, RecordingReader
from tests.kit.event_loops import run_seeded
from tests.sim.checkers import deliveries, problems, records
from tests.sim.cluster import ALL_COMPONENTS_EACH, ClusterSimulation, ClusterSize

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SECOND = structs.replace(READER, start="beginning")
SEEDS = range(4)
SECONDS_PER_CHANGE_MAX = 3.0
LIMITS = ReaderLimits(changes_max=2)  # what it has read cannot be pruned any more


class SecondReaderSimulation(ClusterSimulation):
    """Every process also runs the second reader, and keeps no resume window."""

    def __init__(self, seed: int, size: ClusterSize) -> None:
        super().__init__(seed, size)
        self.config = structs.replace(self.config, data=structs.replace(self.config.data, resume_window_s=0.0))
        self.recording = Recording(behaviour=self._slow)

    async def _slow(self, _: StoredChange) -> None:
        await anyio.sleep(self.random.random() * SECONDS_PER_CHANGE_MAX)

    def extra_children(self, services: Services) -> Sequence[Child]:
        ports = services.ports

        def reader() -> RecordingReader:
            parts = (ports.bus, ports.store, services.projector, self.recording)
            return RecordingReader(*parts, reader=SECOND, limits=LIMITS)

        return [Child(name="second-reader", start=reader)]

    async def _is_quiescent(self) -> bool:
        if not await super()._is_quiescent():
            return False
        committed = await self.bus.committed(SECOND.group, SECOND.topics)
        ends = await self.bus.end_offsets(SECOND.topics)
        if any(committed.get(tp, 0) < end for tp, end in ends.items()):
            return False
        return not any([(await node.store.counts())["changes"] for node in self.nodes])


def simulate(seed: int) -> list[str]:
    async def run() -> list[str]:
        cluster = SecondReaderSimulation(seed, ClusterSize(layout=ALL_COMPONENTS_EACH[:2]))
        await cluster.run()
        return [*await problems(cluster), *await missed(cluster)]

    return run_seeded(seed, run)


async def missed(cluster: SecondReaderSimulation) -> list[str]:
    """Every change once or more, the first time in order within its lane."""
    first: dict[str, list[str]] = {}
    for stored in cluster.recording.finished:
        ids = first.setdefault(stored.change.lane, [])
        if stored.change.id not in ids:
            ids.append(stored.change.id)
    reference = SqliteStore(":memory:")
    await reference.open()
    expected: dict[str, list[str]] = {}
    for change_id, (lane, _, _) in (await deliveries(reference, await records(cluster))).items():
        expected.setdefault(lane, []).append(change_id)
    await reference.close()
    return [
        f"the second reader was given {first.get(lane)} of {wanted}"
        for lane, wanted in expected.items()
        if first.get(lane) != wanted
    ]


def declare(monkeypatch: pytest.MonkeyPatch, *readers: ReaderSpec) -> None:
    monkeypatch.setattr(change_readers, "of_components", lambda _: readers)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_second_reader_gets_every_change_and_nothing_is_kept_once_it_has(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, WEBHOOK_PUBLISHER, SECOND)

    assert simulate(seed) == []


def test_a_pruner_that_forgets_the_second_reader_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, WEBHOOK_PUBLISHER)

    assert any(simulate(seed) for seed in SEEDS)
