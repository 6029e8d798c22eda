"""The overview shows every process, component and actor with its state, and rates over time."""

from typing import Any

import pytest

from tests.kit.console import console
from tests.kit.event_loops import asyncio_backend
from tests.kit.fake_instance import FakeInstance

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])


def actor(path: str, phase: str = "ready", *, supervises: int = 0, **known: object) -> dict[str, Any]:
    return {"path": path, "phase": phase, "supervises": supervises, "restarts": 0, "steps": 0, **known}


def tree(instance: str, *actors: dict[str, Any], at_s: int = 0, **known: object) -> dict[str, Any]:
    return {"instance": instance, "at": f"2026-01-01T09:10:{at_s:02}.000Z", "actors": list(actors), **known}


def process(instance: str, *, ready: bool = True, **known: object) -> dict[str, Any]:
    components = {"sources-facebook": {"ready": ready, "restarts": 0, "lag": 0}}
    return {"instance": instance, "ready": ready, "components": components, "memory_bytes": 125_829_120, **known}


@pytest.fixture
def instance() -> FakeInstance:
    instance = FakeInstance()
    instance.fleet = {"data": [process("node-a:8080")], "components": {}}
    instance.operations.trees = [
        tree(
            "node-a:8080",
            actor("airy", supervises=3),
            actor("airy/store"),
            actor("airy/publisher", "backing_off", restarts=4, error="redis: connection refused"),
            actor("airy/sources", supervises=1),
            actor("airy/sources/router"),
        )
    ]
    instance.counts = {"airy_facts_total": 100.0}
    return instance


async def test_the_tree_shows_each_actor_with_state_restarts_and_error(instance: FakeInstance) -> None:
    async with console(instance) as shown:
        assert "● ready" in shown.line("store")
        failing = shown.line("publisher")
        assert "↻ backing off" in failing
        assert " 4 " in failing
        assert "redis: connection refused" in failing
        assert shown.line("▾ sources").index("▾") < shown.line("    router").index("router")


async def test_rates_follow_from_counters(instance: FakeInstance) -> None:
    async with console(instance) as shown:
        instance.counts["airy_facts_total"] = 150.0
        (tree,) = instance.operations.trees
        tree["actors"][1]["steps"] = 20
        tree["at"] = "2026-01-01T09:10:01.000Z"
        await shown.settle(1.0)
        assert "20.0/s" in shown.line("store")
        assert "50.0/s" in shown.text  # the fold


async def test_every_process_of_a_fleet_is_shown_with_why_it_is_not_ready(instance: FakeInstance) -> None:
    assert instance.fleet is not None
    instance.fleet["data"] += [
        process("node-b:8080", ready=False, waiting_for={"store": "it is folding the log"}),
        process("node-c:8080", stale=True, age_s=95.0),
    ]
    async with console(instance) as shown:
        assert "ready" in shown.line("node-a:8080")
        assert "not ready: store: it is folding the log" in shown.line("node-b:8080")
        assert "no heartbeat for 2 min" in shown.line("node-c:8080")
        assert "1 of 3 ready" in shown.text


@pytest.fixture
def fleet(instance: FakeInstance) -> FakeInstance:
    assert instance.fleet is not None
    instance.fleet["data"] += [
        process("node-b:8080", stale=True, age_s=95.0),
        process("node-c:8080"),
    ]
    failing = actor("airy/webhook-consumer/dispatcher", "failed", restarts=9, error="a bug")
    instance.operations.trees += [
        tree("node-b:8080", actor("airy", supervises=1), failing, answering=False, age_s=95.0, stale=True),
        tree("node-c:8080", answering=False, age_s=3.0),
    ]
    return instance


async def test_the_tree_of_another_process_is_shown_with_its_age_and_a_stale_one_is_marked(fleet: FakeInstance) -> None:
    async with console(fleet, size=(80, 24)) as shown:
        assert "node-a:8080, as of now" in shown.text
        assert shown.line("node-b:8080").index("node-b") > 0  # in trouble, and therefore first
        await shown.press("P")
        assert "node-b:8080, stale: its last heartbeat was 2 min ago" in shown.text
        assert "✗ failed" in shown.line("dispatcher")
        assert "▸ ✗ node-b:8080" in shown.text
        assert not shown.line("router")
        await shown.press("p", "p")
        assert "node-c:8080, as of 3.0 s ago; it publishes no tree" in shown.text


async def test_a_click_on_a_process_shows_its_tree(fleet: FakeInstance) -> None:
    async with console(fleet) as shown:
        await shown.click("node-b:8080")
        assert "node-b:8080, stale" in shown.text


async def test_a_process_that_is_gone_gives_way_to_the_one_that_answers(fleet: FakeInstance) -> None:
    async with console(fleet) as shown:
        await shown.press("P")
        del fleet.operations.trees[1]
        await shown.settle(1.0)
        assert "node-a:8080, as of now" in shown.text
        assert shown.line("router")


async def test_rates_of_another_process_follow_from_two_of_its_trees(fleet: FakeInstance) -> None:
    async with console(fleet) as shown:
        await shown.press("P")
        stale = fleet.operations.trees[1]
        await shown.settle(2.0)  # the same tree again
        assert "/s" not in shown.line("dispatcher")
        stale["actors"][1]["steps"] = 50
        stale["at"] = "2026-01-01T09:10:05.000Z"
        await shown.settle(2.0)
        assert "10.0/s" in shown.line("dispatcher")


async def test_u_shows_only_what_is_not_ready(instance: FakeInstance) -> None:
    async with console(instance) as shown:
        await shown.press("u")
        assert shown.line("publisher")
        assert not shown.line("router")
        await shown.press("u")
        assert shown.line("router")


async def test_a_filter_selects_actors_and_escape_clears_it(instance: FakeInstance) -> None:
    async with console(instance) as shown:
        await shown.press("slash", *"redis", "enter")
        assert shown.line("publisher")
        assert not shown.line("router")
        assert "filter: redis" in shown.text
        await shown.press("escape")
        assert shown.line("router")


async def test_an_instance_that_goes_down_is_said_and_what_was_shown_stays(instance: FakeInstance) -> None:
    async with console(instance) as shown:
        instance.down = True
        shown.events.down = True
        shown.events.cut()
        await shown.settle(3.0)
        assert "stale for" in shown.text
        assert "connection refused" in shown.text
        assert shown.line("publisher")

        instance.down = shown.events.down = False
        await shown.settle(10.0)
        assert "● live" in shown.text
