"""Whatever the tree, whatever its actors do and whenever it is stopped: what must hold of what happened.

Each example is a plan, a behaviour for every incarnation and a moment to stop, run on trio in virtual time. The
interleaving belongs to a seed, so a failure replays.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import anyio
import structlog
from hypothesis import event, given
from hypothesis import strategies as st
from msgspec import Struct

from airy.actors.runtime import (
    Child,
    Context,
    Restart,
    Snapshot,
    Strategy,
    Supervision,
    Tree,
    TreeFailed,
    run_tree,
)
from airy.clock import LoopClock
from airy.errors import Unavailable
from tests.kit.world import run_seeded

Deed = Literal["serve", "return", "crash", "unavailable", "fall silent", "never ready", "refuse to end"]
QUIET = structlog.wrap_logger(None, processors=[], wrapper_class=structlog.make_filtering_bound_logger(50))
DRAIN_S, CLEANUP_S, GRACE_S = 2.0, 1.0, 0.5


class Incarnation(Struct, frozen=True):
    """What it does, after how long, and whether it listens until then."""

    deed: Deed
    after_s: float
    drains: bool


class Leaf(Struct, frozen=True):
    """The incarnations in their order; whoever comes after them serves."""

    restart: Restart
    lives: tuple[Incarnation, ...]


class Branch(Struct, frozen=True):
    strategy: Strategy
    bugs_max: int
    children: tuple["Leaf | Branch", ...]


class Happened(Struct):
    """(when, path, what), in order: start, ready and end of incarnations."""

    lines: list[tuple[float, str, str]]
    failed: bool = False
    stopping_s: float = 0.0
    look: Snapshot | None = None
    abandoned: tuple[str, ...] = ()


class Actor:
    def __init__(self, life: Incarnation, lines: list[tuple[float, str, str]]) -> None:
        self.life, self.lines = life, lines

    def note(self, ctx: Context, what: str) -> None:
        self.lines.append((anyio.current_time(), ctx.path, what))

    async def run(self, ctx: Context) -> None:
        self.note(ctx, "start")
        try:
            await self.play(ctx)
        finally:
            self.note(ctx, "end")

    async def play(self, ctx: Context) -> None:
        deed = self.life.deed
        if deed != "never ready":
            self.note(ctx, "ready")
            ctx.ready()
        with ctx.waiting(), anyio.move_on_after(self.life.after_s):
            await (ctx.draining.wait() if self.life.drains else anyio.sleep_forever())
            return
        if deed == "crash":
            raise RuntimeError
        if deed == "unavailable":
            raise Unavailable("gone")
        if deed in ("fall silent", "never ready"):
            await anyio.sleep_forever()
        with anyio.CancelScope(shield=deed == "refuse to end"), ctx.waiting():
            if deed == "refuse to end":
                await anyio.sleep(50)
            if deed == "serve":
                await ctx.draining.wait()


SERVE = Incarnation("serve", 0.0, drains=True)


def grow(tree: Leaf | Branch, name: str, lines: list[tuple[float, str, str]]) -> Child | Supervision:
    if isinstance(tree, Branch):
        children = tuple(grow(child, f"{name}{number}", lines) for number, child in enumerate(tree.children))
        return Supervision(name=name, strategy=tree.strategy, bugs_max=tree.bugs_max, children=children)
    lives = iter(tree.lives)
    return Child(
        name=name,
        start=lambda: Actor(next(lives, SERVE), lines),
        restart=tree.restart,
        ready_s=6,
        drain_s=DRAIN_S,
        cleanup_s=CLEANUP_S,
        stall_s=4,
    )


async def happen(tree: Branch, stop_at_s: float) -> Happened:
    happened = Happened([])
    trees: list[Tree] = []
    stop = anyio.Event()
    plan = grow(tree, "r", happened.lines)
    assert isinstance(plan, Supervision)
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            try:
                await run_tree(plan, clock=LoopClock(), seed=0, log=QUIET, stop=stop, on_start=trees.append)
            except TreeFailed:
                happened.failed = True
            happened.stopping_s = anyio.current_time() - began_at - stop_at_s
            happened.look = trees[0].snapshot()
            happened.abandoned = tuple(trees[0].abandoned)
            happened.lines.append((anyio.current_time(), "", "over"))

        began_at = anyio.current_time()
        tasks.start_soon(run)
        await anyio.sleep(stop_at_s)
        stop.set()
    return happened


incarnations = st.builds(
    Incarnation,
    deed=st.sampled_from(Deed.__args__),
    after_s=st.sampled_from([0.0, 0.2, 1.0, 3.0, 7.5]),
    drains=st.booleans(),
)
restarts = st.sampled_from(["permanent", "permanent", "transient", "temporary"])
leaves = st.builds(Leaf, restart=restarts, lives=st.lists(incarnations, max_size=4).map(tuple))


def branches(children: st.SearchStrategy[Leaf | Branch]) -> st.SearchStrategy[Branch]:
    return st.builds(
        Branch,
        strategy=st.sampled_from(["one_for_one", "rest_for_one", "one_for_all"]),
        bugs_max=st.integers(0, 4),
        children=st.lists(children, min_size=1, max_size=4).map(tuple),
    )


trees = branches(st.one_of(leaves, leaves, branches(leaves)))
stops = st.sampled_from([0.0, 0.1, 1.0, 2.5, 6.0, 12.3, 40.0, 200.0])


def leaves_of(look: Snapshot) -> Iterator[Snapshot]:
    for child in look.children:
        yield from leaves_of(child)
    if not look.children:
        yield look


@given(tree=trees, stop_at_s=stops, seed=st.integers(0, 2**32))
def test_whatever_happens(tree: Branch, stop_at_s: float, seed: int) -> None:
    happened = run_seeded(seed, happen, tree, stop_at_s)
    assert happened.look is not None
    event(f"failed: {happened.failed}")
    event(f"abandoned: {len(happened.abandoned)}")

    everyone = list(leaves_of(happened.look))
    assert happened.stopping_s <= len(everyone) * (DRAIN_S + CLEANUP_S + GRACE_S) + 1e-6, "a stop is bounded"

    over = [what for _, _, what in happened.lines].index("over")
    running: Counter[str] = Counter()
    for _, path, what in happened.lines[:over]:
        running[path] += {"start": 1, "end": -1}.get(what, 0)
    assert +running == Counter(happened.abandoned), "nobody outlives the tree unreported"
    late = {what for _, _, what in happened.lines[over + 1 :]}
    assert late <= {"end"}, "nothing starts after the end"

    for leaf in everyone:
        assert leaf.phase in ("stopped", "failed")
        times = [line for line in happened.lines[:over] if line[1] == leaf.path]
        most = 0
        alive = 0
        for _, _, what in times:
            alive += {"start": 1, "end": -1}.get(what, 0)
            most = max(most, alive)
        refusals = sum(life.deed == "refuse to end" for life in lives_of(tree, leaf.path))
        assert most <= 1 + refusals, "one incarnation at a time, but for those abandoned"

    if happened.failed:
        assert happened.look.bugs == 1
    assert all(child.phase in ("stopped", "failed") for child in happened.look.children)


def lives_of(tree: Leaf | Branch, path: str) -> tuple[Incarnation, ...]:
    """Names spell the way: `r/r0/r01` is the second child of the first child."""
    for digit in path.rpartition("/")[2][1:]:
        assert isinstance(tree, Branch)
        tree = tree.children[int(digit)]
    assert isinstance(tree, Leaf)
    return tree.lives


@given(tree=trees, stop_at_s=stops, seed=st.integers(0, 2**32))
def test_nobody_starts_before_its_elders_were_ready_or_done(tree: Branch, stop_at_s: float, seed: int) -> None:
    happened = run_seeded(seed, happen, tree, stop_at_s)
    settled: set[str] = set()
    started: set[str] = set()
    for _, path, what in happened.lines:
        parent, _, name = path.rpartition("/")
        if what == "start" and path not in started:
            started.add(path)
            elders = {f"{parent}/{name[:-1]}{number}" for number in range(int(name[-1]))}
            assert {elder for elder in elders if elder in started} <= settled
        if what in ("ready", "end"):
            settled.add(path)


@given(tree=trees, stop_at_s=stops, seed=st.integers(0, 2**32))
def test_one_seed_is_one_story(tree: Branch, stop_at_s: float, seed: int) -> None:
    assert run_seeded(seed, happen, tree, stop_at_s) == run_seeded(seed, happen, tree, stop_at_s)
