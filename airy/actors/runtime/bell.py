"""What a loop waits for until a deadline: anyio has events that ring once, and no wait with a deadline."""

import anyio


class Bell:
    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        """Wakes the one who waits, or the next wait at once. Ringing twice before a wait is ringing once."""
        self._event.set()

    async def wait(self, *, until: float) -> None:
        with anyio.CancelScope(deadline=until):
            await self._event.wait()
        if self._event.is_set():
            self._event = anyio.Event()
