"""How many jobs to lease from which shard, for limits that span all shards. Pure.

A script sees one shard only. A claim therefore first surveys every shard, and decides here what to lease from each.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from airy.queue.api import Shard


class WebhookLoad(Struct, frozen=True):
    """One webhook in one shard."""

    leased: int
    due: int


class ShardAllocation(Struct, frozen=True):
    jobs: int
    per_webhook: dict[str, int]  # maximum for each webhook


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


def allocate(
    surveyed: Mapping[Shard, Mapping[str, WebhookLoad]],
    *,
    jobs_max: int,
    per_webhook_max: int,
    exclude_webhooks: frozenset[str],
    turn: int = 0,
) -> dict[Shard, ShardAllocation]:
    """`turn` rotates which shard gets the remainder of a division, so that none is always last."""
    shards = list(surveyed)
    first = turn % len(shards) if shards else 0
    capacities: list[dict[str, int]] = [{} for _ in shards]
    for name in {name for loads in surveyed.values() for name in loads} - exclude_webhooks:
        loads = [surveyed[shard].get(name, WebhookLoad(0, 0)) for shard in shards]
        capacity = max(0, per_webhook_max - sum(load.leased for load in loads))
        for index, share in enumerate(fair_shares(capacity, [load.due for load in loads], first)):
            if share:
                capacities[index][name] = share
    jobs = fair_shares(jobs_max, [sum(capacity.values()) for capacity in capacities], first)
    return {
        shard: ShardAllocation(share, dict(sorted(capacity.items())))
        for shard, share, capacity in zip(shards, jobs, capacities, strict=True)
        if share
    }
