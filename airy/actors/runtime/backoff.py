"""How long to wait before the next try: a value, and one pure function of it."""

from random import Random

from msgspec import Struct


class Backoff(Struct, frozen=True, kw_only=True):
    """Grows by `factor` from `initial_s` to `ceiling_s`; a run of `reset_s` starts it over."""

    initial_s: float = 0.2
    factor: float = 2.0
    ceiling_s: float = 30.0
    jitter: float = 0.2
    reset_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.initial_s <= self.ceiling_s or self.factor < 1 or not 0 <= self.jitter < 1:
            raise ValueError(f"need 0 < initial_s <= ceiling_s, factor >= 1 and 0 <= jitter < 1: {self}")

    def delay_s(self, failures: int, random: Random, *, at_least_s: float = 0.0) -> float:
        """After so many failures in a row (1 is the first). `at_least_s` is the dependency's own wish, within
        the ceiling.
        """
        grown_s = self.initial_s
        for _ in range(failures - 1):
            if grown_s >= self.ceiling_s:
                break
            grown_s *= self.factor
        wished_s = min(max(grown_s, at_least_s), self.ceiling_s)
        return wished_s * random.uniform(1 - self.jitter, 1 + self.jitter)
