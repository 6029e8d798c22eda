"""Puts entries: checks positions and bounds, then one script call per entry in as few round trips as possible.

Jobs are counted at most once a second, and local puts since then are added. Before the queue is reported full they are
counted again; what other processes put meanwhile is seen a second later.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import Any

import anyio
from msgspec import Struct

from airy.batcher import Batcher
from airy.errors import Unavailable
from airy.queue.api import EntryId, PositionConflict, QueueEntry, QueueFull, Shard
from airy.queue.redis import scripts
from airy.queue.redis.connection import RedisCommand, RedisConnection, script
from airy.queue.redis.keys import KeyNames, entry_id, lane_key, pack, stream_id
from airy.queue.redis.shard_registry import ShardRegistry

COUNT_S = 1.0
ENTRIES_MAX = 500  # per round trip
BYTES_MAX = 4_194_304
COMMANDS_MAX = 1_000  # per round trip of concurrent puts, unless one put has more
GATHER_TURNS = 2  # event loop turns to wait for more puts


class _ShardLevel(Struct):
    last: EntryId
    jobs: int  # waiting or leased
    put: int  # ever


class Enqueuer:
    def __init__(self, connection: RedisConnection, names: KeyNames, registry: ShardRegistry, *, jobs_max: int) -> None:
        self._connection = connection
        self._names = names
        self._registry = registry
        self._jobs_max = jobs_max
        self._levels: dict[Shard, _ShardLevel] = {}
        self._counted_at = float("-inf")
        self._counting = anyio.Lock(fast_acquire=True)
        self._putting: set[Shard] = set()  # a count of these taken meanwhile is older than `_levels`
        self._batcher = Batcher(  # a publisher puts a batch for each partition that moved: one round trip for all
            self._execute,
            items_max=COMMANDS_MAX,
            size_max=COMMANDS_MAX,
            size_of=len,
            gather_turns=GATHER_TURNS,
            serial=False,
        )

    async def put(self, shard: Shard, entries: Sequence[QueueEntry], *, after: EntryId) -> None:
        if any(one >= other for one, other in pairwise([after, *(entry.id for entry in entries)])):
            raise ValueError(f"ids must grow from {after}: {[entry.id for entry in entries]}")
        await self._registry.refresh()
        await self._registry.register(shard)
        fitting = await self._fitting(shard, entries, after)
        self._putting.add(shard)
        try:
            for chunk in _chunks(fitting):
                await self._put(shard, chunk)
        except BaseException:
            self._levels.pop(shard, None)  # the effect is unknown
            raise
        finally:
            self._putting.discard(shard)
        if len(fitting) < len(entries):
            raise QueueFull(f"the webhook queue holds {self._jobs_max} jobs: deliver some, or raise its limit")

    async def _put(self, shard: Shard, entries: Sequence[QueueEntry]) -> None:
        level = self._levels[shard]
        for reply in await self._batcher.add(list(self._commands(self._names.base(shard), level, entries))):
            if isinstance(reply, Unavailable):
                raise reply  # the other commands may have taken effect
            if reply != 1:
                raise PositionConflict(entry_id(reply))

    async def _execute(self, puts: Sequence[Sequence[RedisCommand]]) -> list[list[Any]]:
        """The replies to each put, in one pipeline, followed by one announcement of arrivals."""
        announcement = RedisCommand(("PUBLISH", self._names.arrivals, ""))
        replies = iter(await self._connection.try_execute([*chain.from_iterable(puts), announcement]))
        return [list(islice(replies, len(put))) for put in puts]

    def _commands(self, base: str, level: _ShardLevel, entries: Sequence[QueueEntry]) -> Iterator[RedisCommand]:
        """Of consecutive entries without webhooks only the last is put: it moves the position past all of them."""
        for number, entry in enumerate(entries):
            webhook_ids = tuple(dict.fromkeys(entry.webhook_ids))
            if not webhook_ids and number + 1 < len(entries) and not entries[number + 1].webhook_ids:
                continue
            level.put += len(webhook_ids)
            level.jobs += len(webhook_ids)
            fields = (entry.at_ms, lane_key(entry), pack(entry)) if webhook_ids else (entry.at_ms, "", b"")
            ids = (stream_id(level.last), stream_id(entry.id))
            yield script(scripts.PUT, base, *ids, level.put, *fields, *webhook_ids)
            level.last = entry.id

    # --- bounds

    async def _fitting(self, shard: Shard, entries: Sequence[QueueEntry], after: EntryId) -> Sequence[QueueEntry]:
        """The longest prefix that `jobs_max` allows."""
        async with self._counting:  # a caller that waited here uses the count of the one before
            outdated = self._outdated(shard, after)
            if outdated:
                await self._count(shard)
        fitting = self._prefix(entries)
        if len(fitting) < len(entries) and not outdated:
            await self._count(shard)
            fitting = self._prefix(entries)
        last = self._levels[shard].last
        if last != after:
            raise PositionConflict(last)
        self._registry.check_capacity()
        return fitting

    def _outdated(self, shard: Shard, after: EntryId) -> bool:
        level = self._levels.get(shard)
        return level is None or level.last != after or anyio.current_time() >= self._counted_at + COUNT_S

    def _prefix(self, entries: Sequence[QueueEntry]) -> Sequence[QueueEntry]:
        jobs = sum(level.jobs for level in self._levels.values())
        for number, entry in enumerate(entries):
            more = len(set(entry.webhook_ids))
            if jobs and jobs + more > self._jobs_max:
                return entries[:number]
            jobs += more
        return entries

    async def _count(self, shard: Shard) -> None:
        shards = list(dict.fromkeys([shard, *await self._registry.current()]))
        replies = await self._connection.execute(
            [script(scripts.COUNT_JOBS, self._names.base(each)) for each in shards]
        )
        newer = {each: self._levels[each] for each in self._putting if each in self._levels}
        self._levels = {
            each: _ShardLevel(entry_id(last), jobs, int(put))
            for each, (last, jobs, put) in zip(shards, replies, strict=True)
        } | newer
        self._counted_at = anyio.current_time()


def _chunks(entries: Sequence[QueueEntry]) -> Iterator[Sequence[QueueEntry]]:
    begin, size = 0, 0
    for end, entry in enumerate(entries):
        if end > begin and (end - begin >= ENTRIES_MAX or size + len(entry.body) > BYTES_MAX):
            yield entries[begin:end]
            begin, size = end, 0
        size += len(entry.body)
    if begin < len(entries):
        yield entries[begin:]
