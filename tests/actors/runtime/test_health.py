"""Silence beyond its limit is a crash; a wait on purpose is not."""

import math

import anyio
import anyio.lowlevel
import pytest
import trio
from trio.testing import MockClock

from airy.actors.runtime import Backoff, Child, Context, Mailbox, Request, Snapshot, Supervision
from tests.kit.stage import Journal, Script, acting, idle, noting, running
from tests.kit.world import run_seeded

STEADY = Backoff(initial_s=1, factor=1, ceiling_s=1, jitter=0)


async def watched(script: Script, *, for_s: float, mailbox: Mailbox[int] | None = None) -> tuple[Journal, Snapshot]:
    """What an actor with 10 s to be silent did in that time, and how it looked then."""
    journal = Journal()
    child = Child(name="a", start=acting(noting(journal, script)), stall_s=10, mailbox=mailbox, drain_s=0)
    async with running(Supervision(name="airy", children=(child,), backoff=STEADY)) as stage:
        await anyio.sleep(for_s)
        look = stage.look("a")
    return journal, look


async def test_silence_beyond_the_limit_is_a_crash() -> None:
    async def silent(ctx: Context) -> None:
        ctx.ready()
        await anyio.sleep_forever()

    journal, look = await watched(silent, for_s=25)
    assert journal.times("a", "cancel") == [10.0, 21.0, 25.0]
    assert look.bugs == 2
    assert look.error == "Stalled: no progress for 10 s, and it did not say that it waits"


async def test_silence_counts_from_the_latest_progress() -> None:
    async def slowing_down(ctx: Context) -> None:
        ctx.ready()
        for pause_s in (9, 9.5, 7, math.inf):
            await anyio.sleep(pause_s)
            ctx.progress()

    journal, _ = await watched(slowing_down, for_s=36)
    assert journal.times("a", "cancel")[0] == 9 + 9.5 + 7 + 10


async def test_waiting_on_purpose_is_no_silence_and_what_follows_is() -> None:
    async def wait_then_hang(ctx: Context) -> None:
        ctx.ready()
        with ctx.waiting(), ctx.waiting():
            await anyio.sleep(1234.5)
        await anyio.sleep_forever()

    journal, _ = await watched(wait_then_hang, for_s=1245)
    assert journal.times("a", "cancel") == [1244.5]


async def test_waiting_for_ones_mailbox_needs_no_word() -> None:
    mailbox: Mailbox[int] = Mailbox(10)

    async def receive(ctx: Context) -> None:
        ctx.ready()
        while True:
            await mailbox.get()

    _, look = await watched(receive, for_s=1000, mailbox=mailbox)
    assert look.bugs == 0
    assert look.progress_age_s == 0


async def test_taking_messages_is_progress() -> None:
    mailbox: Mailbox[int] = Mailbox(100)

    async def work(ctx: Context) -> None:
        ctx.ready()
        while True:
            await mailbox.get()
            await anyio.sleep(6)

    for number in range(20):
        assert mailbox.address.offer(number)
    _, look = await watched(work, for_s=100, mailbox=mailbox)
    assert look.bugs == 0


async def test_hanging_over_a_message_is_a_stall() -> None:
    mailbox: Mailbox[int] = Mailbox(100)

    async def hang_at_3(ctx: Context) -> None:
        ctx.ready()
        while True:
            if await mailbox.get() == 3:
                await anyio.sleep_forever()
            await anyio.sleep(6)

    for number in range(5):
        assert mailbox.address.offer(number)
    _, look = await watched(hang_at_3, for_s=100, mailbox=mailbox)
    assert look.bugs == 1
    assert look.mailbox_used == 0


async def test_back_pressure_never_looks_like_being_stuck() -> None:
    full: Mailbox[int] = Mailbox(1)

    async def send(ctx: Context) -> None:
        ctx.ready()
        async with anyio.create_task_group() as tasks:
            for number in range(2):
                tasks.start_soon(full.address.tell, number)

    _, look = await watched(send, for_s=1000)
    assert look.bugs == 0


async def test_waiting_for_an_answer_is_no_silence() -> None:
    deaf: Mailbox[Request[int]] = Mailbox(1)

    async def ask(ctx: Context) -> None:
        ctx.ready()
        await deaf.address.ask(Request[int](), within_s=100)

    _, look = await watched(ask, for_s=99)
    assert look.bugs == 0


async def test_a_wait_inside_another_is_still_a_wait_when_the_inner_one_is_over() -> None:
    async def nest(ctx: Context) -> None:
        ctx.ready()
        with ctx.waiting():
            with ctx.waiting():
                await anyio.sleep(1)
            await anyio.sleep(50)
        ctx.progress()
        await idle(ctx)

    _, look = await watched(nest, for_s=60)
    assert look.bugs == 0


async def test_a_snapshot_shows_phase_age_and_mailbox() -> None:
    mailbox: Mailbox[str] = Mailbox(10)

    async def lazy(ctx: Context) -> None:
        ctx.ready()
        await anyio.sleep(1)
        ctx.progress()
        await ctx.draining.wait()

    children = (
        Child(name="a", start=acting(lazy), mailbox=mailbox),
        Supervision(name="b", children=(Child(name="c", start=acting(idle)),)),
    )
    async with running(Supervision(name="airy", children=children)) as stage:
        mailbox.address.offer("x")
        await anyio.sleep(3)
        root = stage.look()
        assert [node.path for node in root.children] == ["airy/a", "airy/b"]
        assert root.children[1].children[0].path == "airy/b/c"
        look = stage.look("a")
        assert (look.phase, look.mailbox_used, look.mailbox_capacity) == ("ready", 1, 10)
        assert look.progress_age_s == pytest.approx(2)
        assert stage.tree.ready
    assert [stage.look("a").phase, stage.look("b").phase, stage.look("b", "c").phase] == ["stopped"] * 3
    assert not stage.tree.ready
    assert not stage.tree.alive


async def test_a_tree_is_not_ready_once_it_drains() -> None:
    async def slow_goodbye(ctx: Context) -> None:
        await idle(ctx)
        await anyio.sleep(5)

    child = Child(name="a", start=acting(slow_goodbye))
    async with running(Supervision(name="airy", children=(child,))) as stage:
        await anyio.sleep(1)
        assert stage.tree.ready
        stage.tree.stop()
        await anyio.sleep(1)
        assert not stage.tree.ready
        assert stage.tree.alive
        assert stage.look("a").phase == stage.look().phase == "draining"


async def paused_twice() -> tuple[list[str], list[str]]:
    """What an actor did, and who noticed, when the clock jumped ahead while nobody ran."""
    journal = Journal()

    async def work(ctx: Context) -> None:
        await anyio.sleep(1)
        ctx.ready()
        while not ctx.draining.is_set():
            await anyio.sleep(1)
            ctx.progress()

    child = Child(name="a", start=acting(noting(journal, work)), stall_s=10, ready_s=20)
    async with running(Supervision(name="airy", children=(child,))) as stage:
        for _ in range(2):
            await anyio.sleep(0.7)
            clock = trio.lowlevel.current_clock()
            assert isinstance(clock, MockClock)
            clock.jump(100)
            await anyio.lowlevel.checkpoint()
        await anyio.sleep(100)
    return journal.words(), stage.logged("the event loop was blocked")


def test_time_in_which_the_process_stood_still_is_nobodys_silence() -> None:
    """Whether the actor or its watch wakes first is the scheduler's choice, so many seeds are asked."""
    stories = [run_seeded(seed, paused_twice) for seed in range(30)]
    assert all(words == ["a start", "a return"] for words, _ in stories)
    assert any(noticed for _, noticed in stories)
