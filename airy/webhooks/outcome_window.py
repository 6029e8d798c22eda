"""Attempts and failures of an endpoint within the last `WINDOW_S`, counted in buckets. Pure."""

from msgspec import Struct, field

BUCKET_S = 3.0
BUCKETS_MAX = 10
WINDOW_S = BUCKET_S * BUCKETS_MAX


class Bucket(Struct):
    number: int  # since the start of the clock
    attempts: int = 0
    failures: int = 0


class OutcomeWindow(Struct):
    buckets: list[Bucket] = field(default_factory=list)  # oldest first

    def add(self, now_s: float, *, failed: bool) -> None:
        number = int(now_s // BUCKET_S)
        if not self.buckets or self.buckets[-1].number < number:
            self.buckets = [*self._current(now_s), Bucket(number)]
        self.buckets[-1].attempts += 1
        self.buckets[-1].failures += failed

    def counts(self, now_s: float) -> tuple[int, int]:
        """Attempts and failures."""
        current = self._current(now_s)
        return sum(bucket.attempts for bucket in current), sum(bucket.failures for bucket in current)

    def _current(self, now_s: float) -> list[Bucket]:
        oldest = int(now_s // BUCKET_S) - BUCKETS_MAX + 1
        return [bucket for bucket in self.buckets if bucket.number >= oldest]
