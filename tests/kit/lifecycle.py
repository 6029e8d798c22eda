"""A lifecycle without a supervisor, to run one loop and check its calls."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from airy.lifecycle import DrainingSignal


class RecordingLifecycle:
    """A `Lifecycle` that counts its calls."""

    def __init__(self) -> None:
        self.draining = DrainingSignal()
        self.is_ready = anyio.Event()
        self.progress_calls = 0
        self.waits = 0  # in progress

    def ready(self) -> None:
        self.is_ready.set()

    def progress(self) -> None:
        self.progress_calls += 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        self.waits += 1
        try:
            yield
        finally:
            self.waits -= 1
