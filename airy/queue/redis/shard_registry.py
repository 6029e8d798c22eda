"""The set of shards in Redis, and detection of a Redis that lost its data.

A publisher registers its shards every second, so a lost set is complete again at once. The generation is a random key
written once: a different or missing value means that everything was lost, which is logged; the publisher detects it by
itself from missing positions.
"""

from collections.abc import Iterable

import anyio
import structlog

from airy.clock import Ids
from airy.queue.api import QueueFull, Shard
from airy.queue.redis import scripts
from airy.queue.redis.connection import RedisConnection, command, script
from airy.queue.redis.keys import KeyNames, parse_shard_name, shard_name
from airy.queue.redis.memory_guard import MemoryGuard, MemoryUsage, fullest, parse_info

REFRESH_S = 1.0

log = structlog.get_logger("airy.queue")


class ShardRegistry:
    def __init__(self, connection: RedisConnection, names: KeyNames, ids: Ids) -> None:
        self.known: dict[Shard, None] = {}  # an ordered set
        self._registered: dict[Shard, None] = {}  # shards that this process put into or read the position of
        self._connection = connection
        self._names = names
        self._ids = ids
        self._memory_guard = MemoryGuard()
        self._full: QueueFull | None = None
        self._servers: set[str] = set()  # Redis processes, by run id
        self._generation: bytes | None = None
        self._loaded_at = self._refreshed_at = float("-inf")

    async def open(self) -> None:
        self._memory_guard.check_policy(await self._memory())
        self._generation = None
        await self._check_generation()
        await self._load()

    def add(self, names: Iterable[bytes]) -> None:
        """The members of the set, as Redis has returned them."""
        self.known.update(dict.fromkeys(map(parse_shard_name, sorted(names))))
        self._loaded_at = anyio.current_time()

    async def current(self) -> list[Shard]:
        """All shards, at most a second old."""
        if anyio.current_time() >= self._loaded_at + REFRESH_S:
            await self._load()
        return list(self.known)

    async def register(self, shard: Shard) -> None:
        """Dispatchers must know a shard before it has its first entry."""
        if shard not in self._registered:
            await self._connection.execute_one(command("SADD", self._names.shards, shard_name(shard)))
            self._registered[shard] = self.known[shard] = None

    async def refresh(self) -> None:
        """A publisher's checks, at most once a second: registration, generation, servers, memory."""
        if anyio.current_time() < self._refreshed_at + REFRESH_S:
            return
        self._refreshed_at = anyio.current_time()
        if self._registered:
            await self._connection.execute_one(command("SADD", self._names.shards, *map(shard_name, self._registered)))
        await self._check_generation()
        await self._check_servers()
        self._full = None
        try:
            self._memory_guard.check_usage(await self._memory())
        except QueueFull as full:
            self._full = full

    async def repair_heads(self) -> None:
        """Gives every lane of the registered shards its head, which a restart of Redis may have lost."""
        for base in map(self._names.base, list(self._registered)):
            for name in await self._connection.execute_one(command("SMEMBERS", f"{base}:hooks")):
                cursor: bytes = b"-"
                while cursor:
                    repair = script(scripts.REPAIR_HEADS, base, name, 0, cursor)
                    cursor = await self._connection.execute_one(repair)

    def check_capacity(self) -> None:
        """Raises `QueueFull` if the memory was nearly used up at the last refresh."""
        if self._full is not None:
            raise QueueFull(str(self._full))

    async def _check_servers(self) -> None:
        """A Redis process not seen before may have loaded a torn script."""
        infos = [parse_info(info) for (info,) in await self._connection.on_each_master(("INFO", "server"))]
        servers = {info["run_id"] for info in infos}
        if not servers <= self._servers and self._registered:
            await self.repair_heads()
            self._servers = servers

    async def _memory(self) -> MemoryUsage:
        infos = await self._connection.on_each_master(("INFO", "memory"))
        return fullest(parse_info(info) for (info,) in infos)

    async def _load(self) -> None:
        self.add(await self._connection.execute_one(command("SMEMBERS", self._names.shards)))

    async def _check_generation(self) -> None:
        key, fresh = self._names.generation, self._ids.new().encode()
        _, found = await self._connection.execute([command("SETNX", key, fresh), command("GET", key)])
        if self._generation is not None and found != self._generation:
            log.warning("queue.wiped", advice="undelivered changes are queued again from the log")
        elif self._generation is None and found == fresh:
            log.info("queue.created")
        self._generation = found
