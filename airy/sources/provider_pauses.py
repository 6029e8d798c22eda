"""Until when a provider wants no calls, by name: a source, whose app is rate limited, or one request of an API caller.

One object per process, shared by the connector and the API. Durations are of the monotonic clock.
"""

import anyio
from msgspec import Struct

BACKOFF_S_MIN = 1.0
BACKOFF_S_MAX = 60.0
DOUBLINGS_MAX = 6
PAUSES_MAX = 1_000  # beyond it the one that ends first is dropped


class _Pause(Struct):
    until_s: float  # monotonic
    failures: int = 0  # consecutive


class ProviderPauses:
    def __init__(self) -> None:
        self._pauses: dict[str, _Pause] = {}

    def resumes_in_s(self, name: str) -> float:
        """0: calls may be made."""
        pause = self._pauses.get(name)
        return 0.0 if pause is None else max(0.0, pause.until_s - anyio.current_time())

    def pause(self, name: str, for_s: float) -> None:
        pause = self._pauses.get(name) or self._add(name)
        pause.until_s = max(pause.until_s, anyio.current_time() + for_s)

    def failed(self, name: str, asked_s: float | None) -> float:
        """Pauses for 1, 2, 4 … 60 s, and not for less than the provider asked. Returns for how long."""
        pause = self._pauses.get(name) or self._add(name)
        if anyio.current_time() > pause.until_s + BACKOFF_S_MAX:
            pause.failures = 0
        backoff_s = min(BACKOFF_S_MIN * 2 ** min(pause.failures, DOUBLINGS_MAX), BACKOFF_S_MAX)
        pause.failures += 1
        self.pause(name, max(backoff_s, asked_s or 0.0))
        return self.resumes_in_s(name)

    def succeeded(self, name: str) -> None:
        self._pauses.pop(name, None)

    def _add(self, name: str) -> _Pause:
        while len(self._pauses) >= PAUSES_MAX:
            del self._pauses[min(self._pauses, key=lambda each: self._pauses[each].until_s)]
        pause = self._pauses[name] = _Pause(until_s=anyio.current_time())
        return pause
