"""The clock of the Redis server, which all dispatchers share. It is read with each claim; between two readings the
monotonic clock continues it.
"""

from airy.clock import monotonic_ms

TOLERANCE_MS = 1_000  # a reading that differs less is delayed by the network, or of another node of a cluster


class ServerClock:
    def __init__(self) -> None:
        self._ahead_ms: int | None = None  # of the monotonic clock; None before the first reading

    def read(self, server_ms: int) -> None:
        """Takes a reading that has just arrived."""
        ahead_ms = server_ms - monotonic_ms()
        if self._ahead_ms is None or abs(ahead_ms - self._ahead_ms) > TOLERANCE_MS:
            self._ahead_ms = ahead_ms

    def now_ms(self, clock_ms: int) -> int:
        """`clock_ms` before the first reading."""
        return clock_ms if self._ahead_ms is None else monotonic_ms() + self._ahead_ms
