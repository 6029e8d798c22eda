"""Unavailable dependencies: back-off without limit, readiness only, no escalation."""

import anyio
import pytest

from airy.actors.runtime import Backoff, Child, Context, Supervision
from airy.errors import Unavailable
from tests.kit.running_tree import EventLog, actor_of, idle, recording, running


class Broker:
    def __init__(self) -> None:
        self.up = False

    async def client(self, ctx: Context) -> None:
        if not self.up:
            raise Unavailable("no broker at kafka:9092")
        await idle(ctx)


async def test_ten_minutes_without_a_broker_change_readiness_only() -> None:
    broker, events = Broker(), EventLog()
    children = (
        Child(name="http", start=actor_of(recording(events, idle))),
        Child(name="client", start=actor_of(recording(events, broker.client))),
    )
    async with running(Supervision(name="airy", children=children, bugs_max=0)) as system:
        for _ in range(600):
            await anyio.sleep(1)
            assert not system.tree.ready
            assert system.tree.alive
            assert system.snapshot("client").unavailable == "Unavailable: no broker at kafka:9092"
        assert system.snapshot("client").bugs == 0
        assert system.snapshot("client").phase == "backing_off"
        broker.up = True
        await anyio.sleep(36)
        assert system.tree.ready
        assert system.snapshot("client").unavailable is None
    assert events.times("http", "start") == [0.0]


async def test_an_unavailable_dependency_deep_in_the_tree_makes_the_root_unready() -> None:
    async def lost_after_a_while(ctx: Context) -> None:
        ctx.ready()
        await anyio.sleep(5)
        raise Unavailable("gone")

    leaf = Child(name="a", start=actor_of(lost_after_a_while))
    inner = Supervision(name="inner", children=(leaf,), backoff=Backoff(initial_s=10, ceiling_s=10))
    async with running(Supervision(name="airy", children=(inner,))) as system:
        await anyio.sleep(4)
        assert system.tree.ready
        await anyio.sleep(4)
        assert not system.tree.ready
        assert system.snapshot("inner").phase == "ready"


async def test_the_back_off_grows_to_its_ceiling_and_resets_after_a_long_run() -> None:
    broker, events = Broker(), EventLog()

    async def client(ctx: Context) -> None:
        if broker.up:
            broker.up = False
            ctx.ready()
            await anyio.sleep(10)
        raise Unavailable("gone")

    backoff = Backoff(initial_s=1, factor=2, ceiling_s=5, jitter=0, reset_s=10)
    child = Child(name="a", start=actor_of(recording(events, client)))
    async with running(Supervision(name="airy", children=(child,), backoff=backoff)):
        await anyio.sleep(22)
        broker.up = True
        await anyio.sleep(18)
    assert events.times("a", "start") == [0.0, 1.0, 3.0, 7.0, 12.0, 17.0, 22.0, 33.0, 35.0, 39.0]


async def test_a_short_run_does_not_reset_the_back_off() -> None:
    events = EventLog()

    async def flapping(ctx: Context) -> None:
        ctx.ready()
        await anyio.sleep(1)
        raise Unavailable("gone")

    backoff = Backoff(initial_s=1, factor=2, ceiling_s=30, jitter=0, reset_s=10)
    child = Child(name="a", start=actor_of(recording(events, flapping)))
    async with running(Supervision(name="airy", children=(child,), backoff=backoff)):
        await anyio.sleep(20)
    assert events.times("a", "start") == [0.0, 2.0, 5.0, 10.0, 19.0]


async def test_a_dependency_may_ask_for_a_longer_wait_within_the_ceiling() -> None:
    events = EventLog()
    delays_s = [4.0, 100.0, None]

    async def client(ctx: Context) -> None:
        if delays_s:
            raise Unavailable("slow down", retry_after_s=delays_s.pop(0))
        await idle(ctx)

    backoff = Backoff(initial_s=1, factor=1, ceiling_s=10, jitter=0)
    child = Child(name="a", start=actor_of(recording(events, client)))
    async with running(Supervision(name="airy", children=(child,), backoff=backoff)):
        await anyio.sleep(60)
    assert events.times("a", "start") == [0.0, 4.0, 14.0, 15.0]


async def test_clients_that_fail_together_restart_at_different_times() -> None:
    events = EventLog()

    async def client(ctx: Context) -> None:
        ctx.ready()
        await anyio.sleep(1)
        raise Unavailable("gone")

    start = actor_of(recording(events, client))
    inner = tuple(
        Supervision(name=f"s{number}", children=(Child(name=f"c{number}", start=start),)) for number in range(8)
    )
    async with running(Supervision(name="airy", children=inner)):
        await anyio.sleep(1.5)
    seconds = [events.times(f"c{number}", "start")[1] for number in range(8)]
    assert len(set(seconds)) == 8
    assert all(1.16 <= at <= 1.24 for at in seconds)


async def test_stopping_does_not_wait_for_a_back_off() -> None:
    broker = Broker()
    child = Child(name="a", start=actor_of(broker.client))
    backoff = Backoff(initial_s=1000, ceiling_s=1000)
    began_at = anyio.current_time()
    async with running(Supervision(name="airy", children=(child,), backoff=backoff)) as system:
        await anyio.sleep(1)
        assert system.snapshot("a").phase == "backing_off"
    assert anyio.current_time() - began_at == pytest.approx(1)
    assert system.snapshot("a").phase == "stopped"
