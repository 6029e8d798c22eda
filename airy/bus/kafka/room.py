"""How much may be under way to the cluster. Waiting is the default, and bounded by the caller's deadline."""

import asyncio
from collections import deque


class Room:
    """So much may be under way; beyond it callers wait, in the order they came."""

    def __init__(self, records_max: int, bytes_max: int) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._records = 0
        self._bytes = 0
        self._waiting: deque[tuple[asyncio.Future[None], int, int]] = deque()

    async def enter(self, records: int, weight: int, until: float) -> bool:
        """False: there was no room in time."""
        if not self._waiting and self._fits(records, weight):
            self._records += records
            self._bytes += weight
            return True
        loop = asyncio.get_running_loop()
        entry = (loop.create_future(), records, weight)
        self._waiting.append(entry)
        try:
            await asyncio.wait({entry[0]}, timeout=max(0.0, until - loop.time()))
        except BaseException:
            if entry[0].done():
                self.leave(records, weight)
            raise
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
        return entry[0].done()

    def leave(self, records: int, weight: int) -> None:
        self._records -= records
        self._bytes -= weight
        while self._waiting and self._fits(*self._waiting[0][1:]):
            entry, some, more = self._waiting.popleft()
            if not entry.done():
                self._records += some
                self._bytes += more
                entry.set_result(None)

    def _fits(self, records: int, weight: int) -> bool:
        """One call that is larger than everything may go when nothing else does."""
        fits = self._records + records <= self._records_max and self._bytes + weight <= self._bytes_max
        return fits or self._records == 0
