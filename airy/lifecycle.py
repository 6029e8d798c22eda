"""What a loop needs from its supervisor. The context of an actor satisfies it; a test supplies its own."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import anyio


class DrainingSignal:
    """An event that also ends waits without a task of their own: there are several for every source."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._scopes: set[anyio.CancelScope] = set()

    def set(self) -> None:
        self._event.set()
        for scope in self._scopes:
            scope.cancel()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()

    @contextmanager
    def cancels(self, scope: anyio.CancelScope) -> Iterator[None]:
        """`scope` is cancelled when the signal is set inside the block."""
        self._scopes.add(scope)
        try:
            yield
        finally:
            self._scopes.discard(scope)


class Lifecycle(Protocol):
    @property
    def draining(self) -> DrainingSignal:
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
