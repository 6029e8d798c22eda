"""Brings the local store up to the present before an unknown credential is refused.

A token or session that another process created a moment ago is in the log, and perhaps not in the local store yet.
Concurrent calls share one query of the log, so that requests with invented credentials cannot multiply it.
"""

from collections.abc import Awaitable, Callable

import anyio

from airy.errors import Unavailable


class StoreRefresh:
    """`wait_until_current` returns whether the store holds what the log held when it was called."""

    def __init__(self, wait_until_current: Callable[[], Awaitable[bool]]) -> None:
        self._wait_until_current = wait_until_current
        self._begun = 0
        self._completed = 0  # the number of the last refresh that completed
        self._running = False
        self._ended = anyio.Event()

    async def __call__(self) -> None:
        """Return once a refresh that began after this call has completed. Raises `Unavailable` if the store lags."""
        wanted = self._begun + 1
        while self._completed < wanted:
            if self._running:
                await self._ended.wait()
            else:
                await self._refresh()

    async def _refresh(self) -> None:
        self._running = True
        self._begun += 1
        number = self._begun
        try:
            if not await self._wait_until_current():
                raise Unavailable("this replica is behind the log: retry, or ask another replica")
            self._completed = number
        finally:
            self._running = False
            ended, self._ended = self._ended, anyio.Event()
            ended.set()
