"""Blocking calls beside the event loop, one at a time; and task groups that keep the type of their error."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, TypeVarTuple

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

T = TypeVar("T")
A = TypeVarTuple("A")


class Worker:
    """One thread's worth of blocking calls. `inline` runs them on the loop: in virtual time a thread is chance."""

    def __init__(self, *, inline: bool) -> None:
        self._inline = inline
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, function: Callable[[*A], T], *arguments: *A) -> T:
        """Ends when the call has, cancelled or not: what blocks cannot be stopped halfway."""
        if self._inline:
            await checkpoint()
            return function(*arguments)
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(1)
        return await to_thread.run_sync(function, *arguments, limiter=self._limiter)


@asynccontextmanager
async def task_group() -> AsyncIterator[TaskGroup]:
    """The type of an error is a decision, and a group of one error would hide it."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except BaseExceptionGroup as errors:
        raise _only(errors) from None


def _only(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
