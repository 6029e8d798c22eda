"""Blocking calls beside the event loop, one at a time."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio
from anyio import to_thread
from anyio.lowlevel import checkpoint

T = TypeVar("T")
A = TypeVarTuple("A")


class ThreadWorker:
    """Runs blocking calls in a thread, one at a time. `inline` runs them on the event loop instead, because in virtual
    time a thread adds an unknown delay.
    """

    def __init__(self, *, inline: bool) -> None:
        self._inline = inline
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, function: Callable[[*A], T], *arguments: *A) -> T:
        """Returns when the call has ended, cancelled or not: a blocking call cannot be interrupted."""
        if self._inline:
            await checkpoint()
            return function(*arguments)
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(1)
        return await to_thread.run_sync(function, *arguments, limiter=self._limiter)
