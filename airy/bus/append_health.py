"""Whether appends to the log work, for readiness: a process that cannot write serves no webhook and no write."""

import anyio

FAILING_S_MIN = 1.0  # a single failure, or a leader election that is over at once, is not reported


class AppendHealth:
    """Of consecutive appends. The heartbeat, which appends regularly, ends a failure that is over."""

    def __init__(self) -> None:
        self._failing_since: float | None = None
        self._reason = ""

    def succeeded(self) -> None:
        self._failing_since = None

    def failed(self, reason: str) -> None:
        self._reason = reason
        if self._failing_since is None:
            self._failing_since = anyio.current_time()

    @property
    def problem(self) -> str | None:
        """Why appends fail; None if the last one worked, or the first failed just now."""
        if self._failing_since is None or anyio.current_time() < self._failing_since + FAILING_S_MIN:
            return None
        return self._reason
