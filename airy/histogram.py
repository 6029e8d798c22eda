"""Histograms of durations: an observation costs two additions, and readers read the buckets.

Independent of metric names and formats, which belong to the exposition.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

SHORT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LONG_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0)


class Histogram:
    """`counts[n]`: durations above `bounds_s[n - 1]` up to `bounds_s[n]`; the last count is above all bounds."""

    __slots__ = ("bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def add(self, took_s: float) -> None:
        self.counts[bisect_left(self.bounds_s, took_s)] += 1
        self.sum_s += took_s


class Histograms(dict[str, Histogram]):
    """Histograms by name, created at the first observation."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        super().__init__()
        self._bounds_s = bounds_s

    def add(self, names: Iterable[str], took_s: float) -> None:
        for name in names:
            found = self.get(name)
            if found is None:
                found = self[name] = Histogram(self._bounds_s)
            found.add(took_s)


def sum_of(histograms: Iterable[Histogram], bounds_s: Sequence[float]) -> Histogram:
    """The sum of histograms with these bounds."""
    total = Histogram(bounds_s)
    for each in histograms:
        total.counts = [one + other for one, other in zip(total.counts, each.counts, strict=True)]
        total.sum_s += each.sum_s
    return total
