"""Exponential back-off with jitter: the delay before the next attempt, as a pure function."""

from random import Random

from msgspec import Struct


class Backoff(Struct, frozen=True, kw_only=True):
    """Grows by `factor` from `initial_s` to `ceiling_s`; an actor that was ready for `reset_s` starts over."""

    initial_s: float = 0.2
    factor: float = 2.0
    ceiling_s: float = 30.0
    jitter: float = 0.2
    reset_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.initial_s <= self.ceiling_s or self.factor < 1 or not 0 <= self.jitter < 1:
            raise ValueError(f"need 0 < initial_s <= ceiling_s, factor >= 1 and 0 <= jitter < 1: {self}")

    def delay_s(self, failures: int, random: Random, *, at_least_s: float = 0.0) -> float:
        """The delay after `failures` failures in a row (1 is the first), jitter included.

        `at_least_s` is the delay the dependency asked for (`Unavailable.retry_after_s`); the ceiling applies to it too.
        """
        grown_s = self.initial_s
        for _ in range(failures - 1):
            if grown_s >= self.ceiling_s:
                break
            grown_s *= self.factor
        bounded_s = min(max(grown_s, at_least_s), self.ceiling_s)
        return bounded_s * random.uniform(1 - self.jitter, 1 + self.jitter)
