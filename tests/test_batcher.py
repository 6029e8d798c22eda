"""A batcher shares commits between concurrent callers: bounded, in order, and no caller is lost with another."""

from collections.abc import Sequence

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.batcher import Batcher
from airy.errors import Refused, Unavailable


class Commits:
    """Records batches, and answers each item with its double once `resume` is set; negative items are refused."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.resume = anyio.Event()
        self.error: Exception | None = None
        self.running = self.running_max = 0

    async def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        try:
            await self.resume.wait()
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error
        if any(item < 0 for item in items):
            raise Refused("negative")
        return [item * 2 for item in items]


class Calls:
    """Callers of a batcher, each in a task and a scope of its own."""

    def __init__(self, batcher: Batcher[int, int], tasks: anyio.abc.TaskGroup) -> None:
        self._batcher, self._tasks = batcher, tasks
        self.scopes: dict[int, anyio.CancelScope] = {}
        self.outcomes: dict[int, int | Exception] = {}

    async def add(self, *items: int) -> None:
        """Call with each item, in order."""
        for item in items:
            self.scopes[item] = anyio.CancelScope()
            self._tasks.start_soon(self._add, item)
            await anyio.wait_all_tasks_blocked()

    async def add_at_once(self, *items: int) -> None:
        """Without a pause between them, in any order."""
        for item in items:
            self.scopes[item] = anyio.CancelScope()
            self._tasks.start_soon(self._add, item)
        await anyio.wait_all_tasks_blocked()

    async def _add(self, item: int) -> None:
        with self.scopes[item]:
            try:
                self.outcomes[item] = await self._batcher.add(item)
            except (Refused, Unavailable, ValueError) as error:
                self.outcomes[item] = error

    async def cancel(self, item: int) -> None:
        self.scopes[item].cancel()
        await anyio.wait_all_tasks_blocked()


def double(*items: int) -> dict[int, int]:
    return {item: item * 2 for item in items}


async def test_a_single_call_is_committed_at_once() -> None:
    commits = Commits()
    commits.resume.set()

    assert await Batcher(commits, items_max=10).add(21) == 42
    assert commits.batches == [[21]]


async def test_calls_during_a_commit_share_the_next_in_order() -> None:
    commits = Commits()
    async with anyio.create_task_group() as tasks:
        calls = Calls(Batcher(commits, items_max=10), tasks)
        await calls.add(1)
        await calls.add(2, 3, 4)
        assert commits.batches == [[1]]
        commits.resume.set()
    assert commits.batches == [[1], [2, 3, 4]]
    assert calls.outcomes == double(1, 2, 3, 4)


async def test_calls_within_the_gathering_turns_share_a_commit() -> None:
    commits = Commits()
    commits.resume.set()
    async with anyio.create_task_group() as tasks:
        await Calls(Batcher(commits, items_max=10, gather_turns=2), tasks).add_at_once(1, 2, 3)
    assert sorted(commits.batches[0]) == [1, 2, 3]


@pytest.mark.parametrize("limit", [{"items_max": 2}, {"items_max": 10, "size_max": 2}], ids=["items", "size"])
async def test_batches_are_bounded(limit: dict[str, int]) -> None:
    commits = Commits()
    async with anyio.create_task_group() as tasks:
        calls = Calls(Batcher(commits, **limit), tasks)
        await calls.add(1)
        await calls.add(2, 3, 4, 5, 6)
        commits.resume.set()
    assert commits.batches == [[1], [2, 3], [4, 5], [6]]
    assert calls.outcomes == double(1, 2, 3, 4, 5, 6)


async def test_an_item_above_the_size_limit_goes_alone() -> None:
    commits = Commits()
    async with anyio.create_task_group() as tasks:
        batcher: Batcher[int, int] = Batcher(commits, items_max=10, size_max=5, size_of=lambda item: item)
        await Calls(batcher, tasks).add(0)
        await Calls(batcher, tasks).add(1, 100, 2)
        commits.resume.set()
    assert commits.batches == [[0], [1], [100], [2]]


async def test_one_commit_at_a_time_unless_it_is_not_serial() -> None:
    for serial, most in ((True, 1), (False, 3)):
        commits = Commits()
        async with anyio.create_task_group() as tasks:
            await Calls(Batcher(commits, items_max=1, serial=serial), tasks).add(1, 2, 3)
            commits.resume.set()
        assert commits.running_max == most


async def test_an_error_reaches_every_caller_and_the_next_call_starts_over() -> None:
    commits = Commits()
    async with anyio.create_task_group() as tasks:
        batcher: Batcher[int, int] = Batcher(commits, items_max=10)
        calls = Calls(batcher, tasks)
        await calls.add(1)
        await calls.add(2, 3)
        commits.error = Unavailable("away")
        commits.resume.set()
    assert {str(error) for error in calls.outcomes.values()} == {"away"}
    commits.error = None
    assert await batcher.add(4) == 8


async def test_a_refused_item_fails_alone() -> None:
    commits = Commits()
    async with anyio.create_task_group() as tasks:
        calls = Calls(Batcher(commits, items_max=10, split_on=Refused), tasks)
        await calls.add(1)
        await calls.add(2, -3, 4)
        commits.resume.set()
    assert isinstance(calls.outcomes.pop(-3), Refused)
    assert calls.outcomes == double(1, 2, 4)


async def test_an_answer_may_be_an_error() -> None:
    async def commit(items: Sequence[int]) -> Sequence[int | Exception]:
        return [Unavailable("odd") if item % 2 else item for item in items]

    batcher: Batcher[int, int] = Batcher(commit, items_max=10)
    assert await batcher.add(2) == 2
    with pytest.raises(Unavailable, match="odd"):
        await batcher.add(1)


async def test_a_wrong_number_of_answers_is_a_bug_every_caller_sees() -> None:
    async def commit(items: Sequence[int]) -> Sequence[int]:
        return []

    with pytest.raises(ValueError, match="0 answers for 1 items"):
        await Batcher(commit, items_max=10).add(1)


# --- cancellation


@pytest.mark.parametrize("shield", [True, False])
async def test_a_cancelled_caller_loses_no_other_caller(shield: bool) -> None:
    commits = Commits()
    async with anyio.create_task_group() as tasks:
        calls = Calls(Batcher(commits, items_max=10, shield=shield), tasks)
        await calls.add(1)
        await calls.add(2, 3, 4)
        await calls.cancel(3)
        commits.resume.set()
    assert calls.outcomes == double(1, 2, 4)


@pytest.mark.parametrize("shield", [True, False])
async def test_a_leader_cancelled_before_its_commit_loses_no_other_caller(shield: bool) -> None:
    commits = Commits()
    async with anyio.create_task_group() as tasks:
        calls = Calls(Batcher(commits, items_max=10, shield=shield), tasks)
        await calls.add(1)
        await calls.add(2, 3, 4)
        await calls.cancel(2)
        commits.resume.set()
    assert {item: calls.outcomes[item] for item in (1, 3, 4)} == double(1, 3, 4)
    assert commits.batches == [[1], [2, 3, 4]]


async def test_a_shielded_commit_is_completed_and_not_repeated() -> None:
    commits = Commits()
    async with anyio.create_task_group() as tasks:
        calls = Calls(Batcher(commits, items_max=10), tasks)
        await calls.add(1)
        await calls.cancel(1)
        await calls.add(2)
        assert commits.batches == [[1]]
        commits.resume.set()
    assert commits.batches == [[1], [2]]


async def test_a_commit_without_shield_is_cancelled_with_its_leader_and_begun_again_by_the_next() -> None:
    commits = Commits()
    async with anyio.create_task_group() as tasks:
        calls = Calls(Batcher(commits, items_max=10, gather_turns=1, shield=False), tasks)
        await calls.add_at_once(1, 2, 3)
        await calls.cancel(next(item for item in (1, 2, 3) if commits.batches[0][0] == item))
        assert len(commits.batches) == 2
        assert commits.batches[0] == commits.batches[1]
        commits.resume.set()
    assert len(calls.outcomes) == 2


async def test_a_batch_whose_callers_are_all_cancelled_leaves_nothing() -> None:
    commits = Commits()
    async with anyio.create_task_group() as tasks:
        batcher: Batcher[int, int] = Batcher(commits, items_max=10, shield=False)
        calls = Calls(batcher, tasks)
        await calls.add(1)
        await calls.add(2, 3)
        for item in (3, 2, 1):
            await calls.cancel(item)
        assert batcher._open is None
        commits.resume.set()
        assert await batcher.add(4) == 8
    assert calls.outcomes == {}


# --- any interleaving


@given(
    st.lists(st.tuples(st.sampled_from(["add", "cancel", "commit"]), st.integers(0, 30)), max_size=40),
    st.booleans(),
    st.booleans(),
    st.integers(1, 5),
)
async def test_every_caller_that_is_not_cancelled_gets_its_own_answer(
    steps: list[tuple[str, int]], shield: bool, serial: bool, items_max: int
) -> None:
    commits = Commits()
    batcher: Batcher[int, int] = Batcher(commits, items_max=items_max, shield=shield, serial=serial, gather_turns=1)
    cancelled: set[int] = set()
    async with anyio.create_task_group() as tasks:
        calls = Calls(batcher, tasks)
        for step, item in steps:
            if step == "add" and item not in calls.scopes:
                await calls.add(item)
            elif step == "cancel" and item in calls.scopes:
                cancelled.add(item)
                await calls.cancel(item)
            elif step == "commit":
                commits.resume.set()
                await anyio.wait_all_tasks_blocked()
                commits.resume = anyio.Event()
        commits.resume.set()
        await anyio.wait_all_tasks_blocked()
        commits.resume.set()
    asked = set(calls.scopes)
    assert {item: answer for item, answer in calls.outcomes.items() if item not in cancelled} == double(
        *(asked - cancelled)
    )
    assert all(len(batch) <= items_max for batch in commits.batches)
    assert batcher._open is None
