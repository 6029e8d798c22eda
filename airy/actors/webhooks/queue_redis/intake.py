"""Putting entries: positions, bounds, and one script call per entry in as few round trips as possible.

How many jobs there are is counted at most once a second, and what we put since then is added. Before we say that the
queue is full we count again; that others have put meanwhile is noticed a second later.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import anyio
from msgspec import Struct

from airy.actors.webhooks.queue import Entry, EntryId, Full, Shard, Stale
from airy.actors.webhooks.queue_redis import scripts
from airy.actors.webhooks.queue_redis.company import Company
from airy.actors.webhooks.queue_redis.keys import Names, entry_id, lane_key, pack, stream_id
from airy.actors.webhooks.queue_redis.shards import Shards
from airy.actors.webhooks.queue_redis.wire import Call, Wire, script

COUNT_S = 1.0
ENTRIES_MAX = 500  # per round trip
BYTES_MAX = 4_194_304


class _Level(Struct):
    """Of a shard."""

    last: EntryId
    jobs: int  # that wait or are leased
    put: int  # ever


class Intake:
    def __init__(self, wire: Wire, names: Names, shards: Shards, *, jobs_max: int) -> None:
        self._wire = wire
        self._names = names
        self._shards = shards
        self._jobs_max = jobs_max
        self._levels: dict[Shard, _Level] = {}
        self._counted_at = float("-inf")
        self._counting = anyio.Lock(fast_acquire=True)
        self._putting: set[Shard] = set()  # what is counted of them meanwhile is older than what we know
        self._company = Company(wire.attempt, Call(("PUBLISH", names.arrivals, "")))

    async def put(self, shard: Shard, entries: Sequence[Entry], *, after: EntryId) -> None:
        if any(one >= other for one, other in pairwise([after, *(entry.id for entry in entries)])):
            raise ValueError(f"ids must grow from {after}: {[entry.id for entry in entries]}")
        await self._shards.look()
        await self._shards.mine(shard)
        fitting = await self._fitting(shard, entries, after)
        self._putting.add(shard)
        try:
            for some in _parts(fitting):
                await self._put(shard, some)
        except BaseException:
            self._levels.pop(shard, None)  # who knows what became of it
            raise
        finally:
            self._putting.discard(shard)
        if len(fitting) < len(entries):
            raise Full(f"the webhook queue holds {self._jobs_max} jobs: deliver some, or raise its limit")

    async def _put(self, shard: Shard, entries: Sequence[Entry]) -> None:
        level = self._levels[shard]
        for answer in await self._company.run(list(self._calls(self._names.base(shard), level, entries))):
            if answer != 1:
                raise Stale(entry_id(answer))

    def _calls(self, base: str, level: _Level, entries: Sequence[Entry]) -> Iterator[Call]:
        """Of entries that go nowhere, only the last in a row is told: it moves the position past all of them."""
        for number, entry in enumerate(entries):
            webhook_ids = tuple(dict.fromkeys(entry.webhook_ids))
            if not webhook_ids and number + 1 < len(entries) and not entries[number + 1].webhook_ids:
                continue
            level.put += len(webhook_ids)
            level.jobs += len(webhook_ids)
            what = (entry.at_ms, lane_key(entry), pack(entry)) if webhook_ids else (entry.at_ms, "", b"")
            yield script(scripts.PUT, base, stream_id(level.last), stream_id(entry.id), level.put, *what, *webhook_ids)
            level.last = entry.id

    # --- bounds

    async def _fitting(self, shard: Shard, entries: Sequence[Entry], after: EntryId) -> Sequence[Entry]:
        """As many of them as there is room for."""
        async with self._counting:  # whoever waited for another's count has it
            old = self._is_old(shard, after)
            if old:
                await self._count(shard)
        fitting = self._prefix(entries)
        if len(fitting) < len(entries) and not old:
            await self._count(shard)
            fitting = self._prefix(entries)
        last = self._levels[shard].last
        if last != after:
            raise Stale(last)
        self._shards.must_have_room()
        return fitting

    def _is_old(self, shard: Shard, after: EntryId) -> bool:
        level = self._levels.get(shard)
        return level is None or level.last != after or anyio.current_time() >= self._counted_at + COUNT_S

    def _prefix(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        jobs = sum(level.jobs for level in self._levels.values())
        for number, entry in enumerate(entries):
            more = len(set(entry.webhook_ids))
            if jobs and jobs + more > self._jobs_max:
                return entries[:number]
            jobs += more
        return entries

    async def _count(self, shard: Shard) -> None:
        shards = list(dict.fromkeys([shard, *await self._shards.current()]))
        answers = await self._wire.run([script(scripts.COUNT, self._names.base(each)) for each in shards])
        known = {each: self._levels[each] for each in self._putting if each in self._levels}
        self._levels = {
            each: _Level(entry_id(last), jobs, int(put))
            for each, (last, jobs, put) in zip(shards, answers, strict=True)
        } | known
        self._counted_at = anyio.current_time()


def _parts(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    begin, size = 0, 0
    for end, entry in enumerate(entries):
        if end > begin and (end - begin >= ENTRIES_MAX or size + len(entry.body) > BYTES_MAX):
            yield entries[begin:end]
            begin, size = end, 0
        size += len(entry.body)
    if begin < len(entries):
        yield entries[begin:]
