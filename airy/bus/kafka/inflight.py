"""A limit on the records and bytes in flight to the cluster. Callers wait, at most until their deadline."""

import asyncio
from collections import deque


class InFlightLimit:
    """Beyond the limit callers wait, first in, first out."""

    def __init__(self, records_max: int, bytes_max: int) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._records = 0
        self._bytes = 0
        self._waiting: deque[tuple[asyncio.Future[None], int, int]] = deque()

    async def acquire(self, records: int, size: int, until: float) -> bool:
        """False: not within the limit before `until`, in the time of the event loop."""
        if not self._waiting and self._fits(records, size):
            self._records += records
            self._bytes += size
            return True
        loop = asyncio.get_running_loop()
        entry = (loop.create_future(), records, size)
        self._waiting.append(entry)
        try:
            await asyncio.wait({entry[0]}, timeout=max(0.0, until - loop.time()))
        except BaseException:
            if entry[0].done():
                self.release(records, size)
            raise
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
        return entry[0].done()

    def release(self, records: int, size: int) -> None:
        self._records -= records
        self._bytes -= size
        while self._waiting and self._fits(*self._waiting[0][1:]):
            entry, next_records, next_size = self._waiting.popleft()
            if not entry.done():
                self._records += next_records
                self._bytes += next_size
                entry.set_result(None)

    def _fits(self, records: int, size: int) -> bool:
        """A call larger than the limit fits when nothing else is in flight."""
        fits = self._records + records <= self._records_max and self._bytes + size <= self._bytes_max
        return fits or self._records == 0
