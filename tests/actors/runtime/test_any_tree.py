"""Property test: invariants of the event sequence of random trees with random actors, stopped at random times.

Each example is a specification, a behaviour for every run and a time to stop, run on trio in virtual time. The
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
from tests.kit.event_loops import run_seeded

Behaviour = Literal["serve", "return", "crash", "unavailable", "stall", "never ready", "ignore cancellation"]
SILENT = structlog.wrap_logger(None, processors=[], wrapper_class=structlog.make_filtering_bound_logger(50))
DRAIN_S, CLEANUP_S, GRACE_S = 2.0, 1.0, 0.5


class ActorRun(Struct, frozen=True):
    """What one run of an actor does, after how many seconds, and whether it reacts to `draining` until then."""

    behaviour: Behaviour
    after_s: float
    drains: bool


class Leaf(Struct, frozen=True):
    """What the first runs of an actor do, in order; later runs serve until stopped."""

    restart: Restart
    runs: tuple[ActorRun, ...]


class Branch(Struct, frozen=True):
    strategy: Strategy
    bugs_max: int
    children: tuple["Leaf | Branch", ...]


class Observed(Struct):
    """(seconds, path, event), in order: start, ready and end of runs."""

    lines: list[tuple[float, str, str]]
    failed: bool = False
    stopping_s: float = 0.0
    snapshot: Snapshot | None = None
    abandoned: tuple[str, ...] = ()


class Actor:
    def __init__(self, planned: ActorRun, lines: list[tuple[float, str, str]]) -> None:
        self.planned, self.lines = planned, lines

    def record(self, ctx: Context, what: str) -> None:
        self.lines.append((anyio.current_time(), ctx.path, what))

    async def run(self, ctx: Context) -> None:
        self.record(ctx, "start")
        try:
            await self.behave(ctx)
        finally:
            self.record(ctx, "end")

    async def behave(self, ctx: Context) -> None:
        behaviour = self.planned.behaviour
        if behaviour != "never ready":
            self.record(ctx, "ready")
            ctx.ready()
        with ctx.waiting(), anyio.move_on_after(self.planned.after_s):
            await (ctx.draining.wait() if self.planned.drains else anyio.sleep_forever())
            return
        if behaviour == "crash":
            raise RuntimeError
        if behaviour == "unavailable":
            raise Unavailable("gone")
        if behaviour in ("stall", "never ready"):
            await anyio.sleep_forever()
        with anyio.CancelScope(shield=behaviour == "ignore cancellation"), ctx.waiting():
            if behaviour == "ignore cancellation":
                await anyio.sleep(50)
            if behaviour == "serve":
                await ctx.draining.wait()


SERVE = ActorRun("serve", 0.0, drains=True)


def specification(tree: Leaf | Branch, name: str, lines: list[tuple[float, str, str]]) -> Child | Supervision:
    if isinstance(tree, Branch):
        children = tuple(specification(child, f"{name}{number}", lines) for number, child in enumerate(tree.children))
        return Supervision(name=name, strategy=tree.strategy, bugs_max=tree.bugs_max, children=children)
    runs = iter(tree.runs)
    return Child(
        name=name,
        start=lambda: Actor(next(runs, SERVE), lines),
        restart=tree.restart,
        ready_s=6,
        drain_s=DRAIN_S,
        cleanup_s=CLEANUP_S,
        stall_s=4,
    )


async def observe(tree: Branch, stop_at_s: float) -> Observed:
    observed = Observed([])
    trees: list[Tree] = []
    stop = anyio.Event()
    spec = specification(tree, "r", observed.lines)
    assert isinstance(spec, Supervision)
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            try:
                await run_tree(spec, clock=LoopClock(), seed=0, log=SILENT, stop=stop, on_start=trees.append)
            except TreeFailed:
                observed.failed = True
            observed.stopping_s = anyio.current_time() - began_at - stop_at_s
            observed.snapshot = trees[0].snapshot()
            observed.abandoned = tuple(trees[0].abandoned)
            observed.lines.append((anyio.current_time(), "", "over"))

        began_at = anyio.current_time()
        tasks.start_soon(run)
        await anyio.sleep(stop_at_s)
        stop.set()
    return observed


actor_runs = st.builds(
    ActorRun,
    behaviour=st.sampled_from(Behaviour.__args__),
    after_s=st.sampled_from([0.0, 0.2, 1.0, 3.0, 7.5]),
    drains=st.booleans(),
)
restarts = st.sampled_from(["permanent", "permanent", "transient", "temporary"])
leaves = st.builds(Leaf, restart=restarts, runs=st.lists(actor_runs, max_size=4).map(tuple))


def branches(children: st.SearchStrategy[Leaf | Branch]) -> st.SearchStrategy[Branch]:
    return st.builds(
        Branch,
        strategy=st.sampled_from(["one_for_one", "rest_for_one", "one_for_all"]),
        bugs_max=st.integers(0, 4),
        children=st.lists(children, min_size=1, max_size=4).map(tuple),
    )


trees = branches(st.one_of(leaves, leaves, branches(leaves)))
stops = st.sampled_from([0.0, 0.1, 1.0, 2.5, 6.0, 12.3, 40.0, 200.0])


def leaves_of(snapshot: Snapshot) -> Iterator[Snapshot]:
    for child in snapshot.children:
        yield from leaves_of(child)
    if not snapshot.children:
        yield snapshot


@given(tree=trees, stop_at_s=stops, seed=st.integers(0, 2**32))
def test_invariants_hold_whatever_the_actors_do(tree: Branch, stop_at_s: float, seed: int) -> None:
    observed = run_seeded(seed, observe, tree, stop_at_s)
    assert observed.snapshot is not None
    event(f"failed: {observed.failed}")
    event(f"abandoned: {len(observed.abandoned)}")

    actors = list(leaves_of(observed.snapshot))
    assert observed.stopping_s <= len(actors) * (DRAIN_S + CLEANUP_S + GRACE_S) + 1e-6, "a stop is bounded"

    over = [what for _, _, what in observed.lines].index("over")
    running: Counter[str] = Counter()
    for _, path, what in observed.lines[:over]:
        running[path] += {"start": 1, "end": -1}.get(what, 0)
    assert +running == Counter(observed.abandoned), "no actor outlives the tree unreported"
    late = {what for _, _, what in observed.lines[over + 1 :]}
    assert late <= {"end"}, "nothing starts after the end"

    for leaf in actors:
        assert leaf.phase in ("stopped", "failed")
        times = [line for line in observed.lines[:over] if line[1] == leaf.path]
        most = 0
        alive = 0
        for _, _, what in times:
            alive += {"start": 1, "end": -1}.get(what, 0)
            most = max(most, alive)
        abandonments = sum(planned.behaviour == "ignore cancellation" for planned in runs_of(tree, leaf.path))
        assert most <= 1 + abandonments, "one run at a time, except abandoned ones"

    if observed.failed:
        assert observed.snapshot.bugs == 1
    assert all(child.phase in ("stopped", "failed") for child in observed.snapshot.children)


def runs_of(tree: Leaf | Branch, path: str) -> tuple[ActorRun, ...]:
    """The path of a child, from its name: `r01` is `r/r0/r01`, the second child of the first child."""
    for digit in path.rpartition("/")[2][1:]:
        assert isinstance(tree, Branch)
        tree = tree.children[int(digit)]
    assert isinstance(tree, Leaf)
    return tree.runs


@given(tree=trees, stop_at_s=stops, seed=st.integers(0, 2**32))
def test_no_child_starts_before_earlier_siblings_are_ready_or_ended(tree: Branch, stop_at_s: float, seed: int) -> None:
    observed = run_seeded(seed, observe, tree, stop_at_s)
    settled: set[str] = set()
    started: set[str] = set()
    for _, path, what in observed.lines:
        parent, _, name = path.rpartition("/")
        if what == "start" and path not in started:
            started.add(path)
            earlier = {f"{parent}/{name[:-1]}{number}" for number in range(int(name[-1]))}
            assert {sibling for sibling in earlier if sibling in started} <= settled
        if what in ("ready", "end"):
            settled.add(path)


@given(tree=trees, stop_at_s=stops, seed=st.integers(0, 2**32))
def test_one_seed_gives_one_sequence_of_events(tree: Branch, stop_at_s: float, seed: int) -> None:
    assert run_seeded(seed, observe, tree, stop_at_s) == run_seeded(seed, observe, tree, stop_at_s)
