"""A pulse without a supervisor: for running one loop, and for seeing what it said."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class LonePulse:
    """`airy.bus.api.Pulse` that remembers."""

    def __init__(self) -> None:
        self.draining = anyio.Event()
        self.is_ready = anyio.Event()
        self.beats = 0
        self.waits = 0  # how many waits are under way

    def ready(self) -> None:
        self.is_ready.set()

    def progress(self) -> None:
        self.beats += 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        self.waits += 1
        try:
            yield
        finally:
            self.waits -= 1
