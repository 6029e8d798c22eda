"""Which shards there are, and whether this is still the Redis they were put into.

A publisher says every second which ones it has, so a lost set is whole again before anybody misses it. The generation
is a random key made once: if it is another one, or gone, everything was lost, and we say so; what to do about it the
publisher finds out by itself, from positions that are gone.
"""

from collections.abc import Iterable

import anyio
import structlog

from airy.actors.webhooks.queue import Full, Shard
from airy.actors.webhooks.queue_redis import scripts
from airy.actors.webhooks.queue_redis.keys import Names, shard_name, shard_named
from airy.actors.webhooks.queue_redis.watch import Alarm, Memory, fullest, parsed
from airy.actors.webhooks.queue_redis.wire import Wire, command, script
from airy.clock import Ids

LOOK_S = 1.0

log = structlog.get_logger("airy.queue")


class Shards:
    def __init__(self, wire: Wire, names: Names, ids: Ids) -> None:
        self.known: dict[Shard, None] = {}  # a set that keeps its order
        self._mine: dict[Shard, None] = {}  # put into, or asked for its position
        self._wire = wire
        self._names = names
        self._ids = ids
        self._alarm = Alarm()
        self._full: Full | None = None
        self._servers: set[str] = set()  # processes of Redis, known by their run ids
        self._generation: bytes | None = None
        self._learned_at = self._looked_at = float("-inf")

    async def open(self) -> None:
        self._alarm.opened(await self._memory())
        self._generation = None
        await self._look_at_generation()
        await self._learn()

    def learn(self, names: Iterable[bytes]) -> None:
        self.known.update(dict.fromkeys(map(shard_named, sorted(names))))
        self._learned_at = anyio.current_time()

    async def current(self) -> list[Shard]:
        """All of them, as of a second ago at most."""
        if anyio.current_time() >= self._learned_at + LOOK_S:
            await self._learn()
        return list(self.known)

    async def mine(self, shard: Shard) -> None:
        """Others must know it before it has its first entry."""
        if shard not in self._mine:
            await self._wire.one(command("SADD", self._names.shards, shard_name(shard)))
            self._mine[shard] = self.known[shard] = None

    async def look(self) -> None:
        """What a publisher looks at, at most once a second."""
        if anyio.current_time() < self._looked_at + LOOK_S:
            return
        self._looked_at = anyio.current_time()
        if self._mine:
            await self._wire.one(command("SADD", self._names.shards, *map(shard_name, self._mine)))
        await self._look_at_generation()
        await self._look_at_servers()
        self._full = None
        try:
            self._alarm.check(await self._memory())
        except Full as full:
            self._full = full

    async def mend(self) -> None:
        """What a restart of Redis may have brought back torn: every lane of our shards gets its head."""
        for base in map(self._names.base, list(self._mine)):
            for name in await self._wire.one(command("SMEMBERS", f"{base}:hooks")):
                place: bytes = b"-"
                while place:
                    place = await self._wire.one(script(scripts.MEND, base, name, 0, place))

    def must_have_room(self) -> None:
        """Raises `Full` if the memory was nearly used up when we looked."""
        if self._full is not None:
            raise Full(str(self._full))

    async def _look_at_servers(self) -> None:
        """A process of Redis that we have not seen yet may have loaded what was torn."""
        infos = [parsed(info) for (info,) in await self._wire.everywhere(("INFO", "server"))]
        servers = {info["run_id"] for info in infos}
        if not servers <= self._servers and self._mine:
            await self.mend()
            self._servers = servers

    async def _memory(self) -> Memory:
        return fullest(parsed(info) for (info,) in await self._wire.everywhere(("INFO", "memory")))

    async def _learn(self) -> None:
        self.learn(await self._wire.one(command("SMEMBERS", self._names.shards)))

    async def _look_at_generation(self) -> None:
        key, fresh = self._names.generation, self._ids.new().encode()
        _, found = await self._wire.run([command("SETNX", key, fresh), command("GET", key)])
        if self._generation is not None and found != self._generation:
            log.warning("queue.wiped", advice="what is undelivered is queued again from the log")
        elif self._generation is None and found == fresh:
            log.info("queue.is_new")
        self._generation = found
