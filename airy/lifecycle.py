"""What a loop needs from its supervisor. The context of an actor satisfies it; a test supplies its own."""

from contextlib import AbstractContextManager
from typing import Protocol

import anyio


class Lifecycle(Protocol):
    @property
    def draining(self) -> anyio.Event:
        """Set when the loop should finish what it has begun and return."""
        ...

    def ready(self) -> None:
        """The loop serves now."""
        ...

    def progress(self) -> None:
        """The loop has done something since the last call; without it, silence counts as a crash."""
        ...

    def waiting(self) -> AbstractContextManager[None]:
        """A wait inside is expected, so that it does not count as silence."""
        ...
