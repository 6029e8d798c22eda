"""A wall clock that can be set, as an operator or NTP does it."""

from airy.clock import Clock


class SkewedClock:
    """A clock with an offset that can be changed."""

    def __init__(self, clock: Clock, skew_ms: int = 0) -> None:
        self._clock = clock
        self._skew_ms = skew_ms

    def set(self, skew_ms: int) -> None:
        """Makes the clock jump, forward or back."""
        self._skew_ms = skew_ms

    def now_ms(self) -> int:
        return self._clock.now_ms() + self._skew_ms
