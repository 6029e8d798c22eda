"""Where time, chance and new ids come from: ports, with the system's and the simulation's answer.

Nothing outside this module reads a clock or a random source, so a seed replays a run. Waiting is not here:
it is `anyio.sleep` and `anyio.fail_after`, which virtual time already drives.
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


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class LoopClock:
    """Wall time that follows the event loop, so that virtual time moves both together."""

    def __init__(self, epoch_ms: int = 1_767_225_600_000) -> None:
        self._epoch_ms = epoch_ms

    def now_ms(self) -> int:
        return self._epoch_ms + round(anyio.current_time() * 1000)


class Ids(Protocol):
    """Fresh ids for things that have no cause to derive one from."""

    def new(self) -> str:
        """A canonical lower-case version 4 UUID."""
        ...


class RandomIds:
    """Version 4 UUIDs from a given random source; from the system's when none is given."""

    def __init__(self, source: random.Random | None = None) -> None:
        self._source = source or random.SystemRandom()

    def new(self) -> str:
        return str(uuid.UUID(int=self._source.getrandbits(128), version=4))
