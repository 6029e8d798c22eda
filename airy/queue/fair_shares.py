"""How a claim is divided over webhooks. Pure."""

from collections.abc import Callable, Mapping, Sequence

Divide = Callable[[Mapping[str, int]], Mapping[str, int]]
"""From the number of jobs of each webhook that could be leased now, to the number to lease. The order of the webhooks
decides about the remainder of a division.
"""


def fair_shares(total: int, wanted: Sequence[int], first: int = 0) -> list[int]:
    """Divide `total` evenly, giving none more than it wants and leaving nothing over that is still wanted."""
    given = [0] * len(wanted)
    order = [(first + index) % len(wanted) for index in range(len(wanted))]
    order = [index for index in order if wanted[index] > 0]
    while total > 0 and order:
        each = max(1, total // len(order))
        for index in order:
            share = min(each, wanted[index] - given[index], total)
            given[index] += share
            total -= share
        order = [index for index in order if given[index] < wanted[index]]
    return given


def evenly(jobs_max: int) -> Divide:
    return lambda wanted: dict(zip(wanted, fair_shares(jobs_max, list(wanted.values())), strict=True))
