"""Shares one expensive call between concurrent callers: group commit for anything that takes a sequence.

The first caller leads: it waits a few turns of the event loop for more, and for the commit in flight, and then commits
the batch for all of them. No background task, and no caller is delayed to fill a batch.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

T = TypeVar("T")
R = TypeVar("R")


class _Batch(Generic[T, R]):
    __slots__ = ("answers", "changed", "error", "finished", "items", "led", "size", "waiting")

    def __init__(self) -> None:
        self.items: list[T] = []
        self.size = 0
        self.led = False  # a caller commits it
        self.finished = False
        self.answers: Sequence[R | Exception] = ()
        self.error: Exception | None = None
        self.waiting = 0  # callers besides the leader
        self.changed: anyio.Event | None = None  # finished, or without a leader

    async def wait(self) -> None:
        if self.changed is None:
            self.changed = anyio.Event()
        self.waiting += 1
        try:
            await self.changed.wait()
        finally:
            self.waiting -= 1

    def notify(self) -> None:
        changed, self.changed = self.changed, None
        if changed is not None:
            changed.set()


class Batcher(Generic[T, R]):
    """`commit` gets the items in the order of the calls and returns one answer for each. An answer that is an exception
    is raised to its caller; an exception of `commit` to every caller in the batch.

    `items_max`, `size_max`: of a batch; `size_of` measures an item. An item that is larger than `size_max` goes alone.
    `gather_turns`: turns of the event loop to wait for more callers.
    `serial`: one commit at a time; a batch gathers while one is in flight. Otherwise only `gather_turns` gather.
    `shield`: an item that was added is committed, once, even if its caller is cancelled. Without it, a commit is
    cancelled with its leader and begun again by the next caller of the batch: `commit` must be idempotent then.
    `split_on`: if `commit` raises this for several items, each is committed alone, so that only its cause gets it.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        *,
        items_max: int,
        size_max: int = 2**63,
        size_of: Callable[[T], int] = lambda _: 1,
        gather_turns: int = 0,
        serial: bool = True,
        shield: bool = True,
        split_on: type[Exception] | None = None,
    ) -> None:
        self._commit = commit
        self._items_max = items_max
        self._size_max = size_max
        self._size_of = size_of
        self._gather_turns = gather_turns
        self._serial = serial
        self._in_flight = False  # a commit, if they are serial
        self._queue: deque[anyio.Event] = deque()  # leaders that wait for it
        self._shield = shield
        self._split_on = split_on
        self._open: _Batch[T, R] | None = None  # callers may join it
        self._immediate = serial and not shield and not gather_turns  # a lone item needs no batch

    async def add(self, item: T) -> R:
        if self._immediate and not self._in_flight:
            return await self._commit_alone(item)
        batch, size = self._open, self._size_of(item)
        if batch is None or len(batch.items) >= self._items_max or batch.size + size > self._size_max:
            batch = self._open = _Batch()
        index = len(batch.items)
        batch.items.append(item)
        batch.size += size
        while not batch.finished:
            if batch.led:
                await batch.wait()
            else:
                await self._lead(batch)
        if batch.error is not None:
            raise batch.error
        return _raised(batch.answers[index])

    async def _commit_alone(self, item: T) -> R:
        self._in_flight = True
        try:
            return _raised((await self._answers([item]))[0])
        finally:
            self._start_next()

    async def _lead(self, batch: _Batch[T, R]) -> None:
        batch.led = True
        try:
            if self._shield:
                with anyio.CancelScope(shield=True):
                    await self._commit_batch(batch)
            else:
                await self._commit_batch(batch)
        finally:
            batch.led = False
            if self._open is batch and not batch.waiting:
                self._open = None
            batch.notify()

    async def _commit_batch(self, batch: _Batch[T, R]) -> None:
        for _ in range(self._gather_turns):
            await checkpoint()
        if not self._serial:
            await self._commit_now(batch)
            return
        await self._wait_for_turn()
        try:
            await self._commit_now(batch)
        finally:
            self._start_next()

    async def _wait_for_turn(self) -> None:
        if not self._in_flight:
            self._in_flight = True
            return
        turn = anyio.Event()
        self._queue.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self._start_next()
            else:
                self._queue.remove(turn)
            raise

    def _start_next(self) -> None:
        """The turn passes to the leader that has waited longest, so that batches are committed in their order."""
        if self._queue:
            self._queue.popleft().set()
        else:
            self._in_flight = False

    async def _commit_now(self, batch: _Batch[T, R]) -> None:
        if self._open is batch:
            self._open = None
        try:
            batch.answers = await self._answers(batch.items)
        except Exception as error:  # noqa: BLE001 - every caller of the batch raises it
            batch.error = error
        batch.finished = True

    async def _answers(self, items: Sequence[T]) -> Sequence[R | Exception]:
        try:
            answers = await self._commit(items)
        except Exception as error:
            if self._split_on is None or not isinstance(error, self._split_on) or len(items) == 1:
                raise
            return [await self._answer(item) for item in items]
        if len(answers) != len(items):
            raise ValueError(f"{len(answers)} answers for {len(items)} items")
        return answers

    async def _answer(self, item: T) -> R | Exception:
        try:
            return (await self._commit([item]))[0]
        except Exception as error:  # noqa: BLE001 - its caller raises it
            return error


def _raised(answer: R | Exception) -> R:
    if isinstance(answer, Exception):
        raise answer
    return answer
