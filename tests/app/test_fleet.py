"""Two processes on one log: each one shows the other's supervision tree."""

from typing import Any

import msgspec

from airy import topics
from airy.actors.process_registry import STALE_AFTER_HEARTBEATS
from airy.actors.runtime import Snapshot
from airy.app.actor_tree import ACTORS_MAX, ERROR_CHARS_MAX, actor_tree
from tests.kit.in_process import InProcessAiry

HEARTBEAT_S = 5.0
TREE_BYTES_MAX = 4_096


async def trees(here: InProcessAiry) -> dict[str, dict[str, Any]]:
    return {each["instance"]: each for each in (await here.asked("/processes.actors", {}))["data"]}


async def test_each_process_of_a_fleet_shows_the_tree_of_the_other_until_it_is_stale() -> None:
    here = InProcessAiry(fleet=True)
    there = InProcessAiry(beside=here, seed=1, running=frozenset({"http", "webhook-consumer"}))
    async with here.open():
        async with there.open():
            await here.until(lambda: len(here.status.fleet().processes) == 2)
            found = await trees(here)
            assert list(found) == ["here:8080", "beside:8080"]
            assert [each["answering"] for each in found.values()] == [True, False]
            paths = [each["path"] for each in found["beside:8080"]["actors"]]
            assert paths[0] == "airy"
            assert "airy/webhook-consumer/dispatcher" in paths
            assert "airy/webhook-publisher/publisher" not in paths
            assert found["beside:8080"]["age_s"] <= HEARTBEAT_S + 1
        assert list(await trees(here)) == ["here:8080"]  # it stopped in order


async def test_a_process_that_is_killed_stays_with_its_last_tree_marked_as_stale() -> None:
    here = InProcessAiry(fleet=True)
    async with here.open():
        last = here.report()
        await here.bus.publish([topics.COMPONENTS.record("gone:1", msgspec.structs.replace(last, instance="gone:1"))])
        await here.until(lambda: len(here.status.fleet().processes) == 2)
        await here.until(lambda: here.status.fleet().processes[0].stale)
        (tree,) = (await here.asked("/processes.actors", {"process": "gone:1"}))["data"]

    assert tree["stale"]
    assert tree["age_s"] >= STALE_AFTER_HEARTBEATS * HEARTBEAT_S
    assert len(tree["actors"]) == len(last.tree.actors)


async def test_the_tree_of_a_whole_process_takes_less_than_four_kilobytes_and_a_lone_process_writes_none() -> None:
    here, alone = InProcessAiry(fleet=True), InProcessAiry()
    async with here.open():
        assert 0 < len(msgspec.json.encode(here.report().tree)) < TREE_BYTES_MAX
    async with alone.open():
        assert alone.report().tree.actors == ()


def test_a_tree_is_bounded_by_what_is_well_and_its_errors_are_masked() -> None:
    children = tuple(Snapshot(path=f"airy/{number}", phase="ready") for number in range(ACTORS_MAX))
    failing = Snapshot(path="airy/last", phase="backing_off", restarts=3, error=f"token {'x' * 1_000}")
    tree = actor_tree(
        Snapshot(path="airy", phase="ready", children=(*children, failing)), lambda text: text.replace("token", "***")
    )

    assert (len(tree.actors), tree.omitted) == (ACTORS_MAX, 2)
    assert (tree.actors[0].path, tree.actors[-1].path) == ("airy", "airy/last")
    assert tree.actors[-1].error == f"*** {'x' * 1_000}"[:ERROR_CHARS_MAX]
