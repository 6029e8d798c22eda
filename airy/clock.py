"""Ports to time, randomness and new ids, with implementations for real and simulated runs.

No other module reads a clock or a random source, so a seed reproduces a run. Waiting is `anyio.sleep` and
`anyio.fail_after`, which virtual time drives as well.

The wall clock may be set, forward or back. Durations within a process (limits, back-off, pauses, leases it holds) are
measured with `monotonic_ms`; times that are stored are clamped when they are read (decision 24).
"""

import random
import time
import uuid
from typing import Protocol

import anyio


class Clock(Protocol):
    """Wall time for records and schedules."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        ...


def monotonic_ms() -> int:
    """Milliseconds of the event loop's clock, which is never set. Only differences have a meaning."""
    return round(anyio.current_time() * 1000)


class SystemClock:
    """The system clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class LoopClock:
    """Wall time derived from the event loop's time, so that virtual time advances both."""

    def __init__(self, epoch_ms: int = 1_767_225_600_000) -> None:
        self._epoch_ms = epoch_ms

    def now_ms(self) -> int:
        return self._epoch_ms + round(anyio.current_time() * 1000)


class Ids(Protocol):
    """New ids and secrets, for objects without a cause to derive them from."""

    def new(self) -> str:
        """A canonical lower-case version 4 UUID."""
        ...

    def random_bytes(self, count: int) -> bytes:
        """For a secret."""
        ...


class RandomIds:
    """From a random source; by default the system's."""

    def __init__(self, source: random.Random | None = None) -> None:
        self._source = source or random.SystemRandom()

    def new(self) -> str:
        return str(uuid.UUID(int=self._source.getrandbits(128), version=4))

    def random_bytes(self, count: int) -> bytes:
        return self._source.randbytes(count)
