"""Who may be handed how much: jobs wait in several shards, and limits are over all of them.

Every script sees one shard. So what there is in each is asked first, and here it is decided what to take from where.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from airy.actors.webhooks.queue import Shard


class Waiting(Struct, frozen=True):
    """Of one webhook in one shard."""

    leased: int
    due: int


class Take(Struct, frozen=True):
    jobs: int
    of: dict[str, int]  # and at most so many of each webhook


def shares(total: int, wanted: Sequence[int], first: int = 0) -> list[int]:
    """Divide among those who want, evenly, nobody more than wanted, nothing left over that somebody wants."""
    given = [0] * len(wanted)
    order = [(first + place) % len(wanted) for place in range(len(wanted))]
    order = [place for place in order if wanted[place] > 0]
    while total > 0 and order:
        each = max(1, total // len(order))
        for place in order:
            some = min(each, wanted[place] - given[place], total)
            given[place] += some
            total -= some
        order = [place for place in order if given[place] < wanted[place]]
    return given


def allot(
    found: Mapping[Shard, Mapping[str, Waiting]],
    *,
    jobs_max: int,
    per_webhook_max: int,
    not_webhooks: frozenset[str],
    turn: int = 0,
) -> dict[Shard, Take]:
    """`turn` moves the shard that gets the odd one, so that none is always the last."""
    places = list(found)
    first = turn % len(places) if places else 0
    rooms: list[dict[str, int]] = [{} for _ in places]
    for name in {name for waiting in found.values() for name in waiting} - not_webhooks:
        here = [found[shard].get(name, Waiting(0, 0)) for shard in places]
        room = max(0, per_webhook_max - sum(one.leased for one in here))
        for place, some in enumerate(shares(room, [one.due for one in here], first)):
            if some:
                rooms[place][name] = some
    jobs = shares(jobs_max, [sum(room.values()) for room in rooms], first)
    return {
        shard: Take(some, dict(sorted(room.items())))
        for shard, some, room in zip(places, jobs, rooms, strict=True)
        if some
    }
