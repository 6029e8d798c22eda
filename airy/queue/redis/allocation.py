"""How many jobs to lease from which shard, for limits that span all shards. Pure.

A script sees one shard only. A claim therefore first surveys every shard, and decides here what to lease from each.
"""

from collections.abc import Mapping

from msgspec import Struct

from airy.queue.api import Shard
from airy.queue.fair_shares import Divide, fair_shares


class WebhookLoad(Struct, frozen=True):
    """One webhook in one shard."""

    leased: int
    due: int


class ShardAllocation(Struct, frozen=True):
    jobs: int
    per_webhook: dict[str, int]  # maximum for each webhook


def allocate(
    surveyed: Mapping[Shard, Mapping[str, WebhookLoad]],
    *,
    per_webhook_max: int,
    webhook_limits: Mapping[str, int],
    divide: Divide,
    turn: int = 0,
) -> dict[Shard, ShardAllocation]:
    """`turn` rotates which webhook and which shard get the remainder of a division, so that none is always last."""
    shards = list(surveyed)
    names = sorted({name for loads in surveyed.values() for name in loads})
    wanted: dict[str, int] = {}
    for name in _rotated(names, turn):
        loads = [surveyed[shard].get(name, WebhookLoad(0, 0)) for shard in shards]
        capacity = webhook_limits.get(name, per_webhook_max) - sum(load.leased for load in loads)
        wanted[name] = max(0, min(capacity, sum(load.due for load in loads)))
    allocations: list[dict[str, int]] = [{} for _ in shards]
    for name, granted in divide({name: count for name, count in wanted.items() if count}).items():
        dues = [surveyed[shard].get(name, WebhookLoad(0, 0)).due for shard in shards]
        for index, share in enumerate(fair_shares(granted, dues, turn % len(shards))):
            if share:
                allocations[index][name] = share
    return {
        shard: ShardAllocation(sum(allocation.values()), dict(sorted(allocation.items())))
        for shard, allocation in zip(shards, allocations, strict=True)
        if allocation
    }


def _rotated(names: list[str], turn: int) -> list[str]:
    first = turn % len(names) if names else 0
    return names[first:] + names[:first]
