"""A reusable event with a deadline: anyio's events are set once and have no wait with a deadline."""

import anyio


class WakeUp:
    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        """Ends the current wait, or the next one at once. Sets before a wait are merged."""
        self._event.set()

    async def wait(self, *, until: float) -> None:
        with anyio.CancelScope(deadline=until):
            await self._event.wait()
        if self._event.is_set():
            self._event = anyio.Event()
