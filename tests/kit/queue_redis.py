"""The Redis queue under test: on servers that are flushed before, and everything that Redis wrote, to be told again."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from redis import Redis

from airy.actors.webhooks.queue_redis import RedisQueue, Server
from tests.kit.servers.redis import RedisServer

Command = list[bytes]


class RedisRig:
    def __init__(self, queue: RedisQueue, server: RedisServer) -> None:
        self.queue = queue
        self._server = server

    async def reopen(self) -> None:
        await self.queue.close()
        await self.queue.open()

    async def wipe(self) -> None:
        flush(self._server)


def flush(server: RedisServer) -> None:
    for node in range(server.nodes):
        answer = server.ask("FLUSHALL", node=node)
        if answer != "+OK":
            raise AssertionError(answer)


@asynccontextmanager
async def opened(
    server: RedisServer, *, url: Server | str = "", jobs_max: int = 1_000
) -> AsyncIterator[RedisRig]:
    """A queue on servers that are empty."""
    flush(server)
    queue = RedisQueue(url or server.url, cluster=server.nodes > 1, jobs_max=jobs_max)
    await queue.open()
    try:
        yield RedisRig(queue, server)
    finally:
        await queue.close()


class Written:
    """What a server writes to its append-only file, from now on. What one script did is one group."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._from = self._end()

    def groups(self) -> list[list[Command]]:
        with self._server.aof_files()[-1].open("rb") as file:
            file.seek(self._from)
            data = file.read()
        return list(_grouped(_commands(data)))

    def _end(self) -> int:
        return self._server.aof_files()[-1].stat().st_size


def tell(server: RedisServer, commands: Iterable[Command]) -> None:
    """As a server tells itself when it loads what it wrote."""
    address = urlsplit(server.url)
    with Redis(host=address.hostname or "", port=address.port or 0) as client:
        pipeline = client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        pipeline.execute(raise_on_error=False)


def _commands(data: bytes) -> Iterator[Command]:
    place = 0
    while place < len(data):
        end = data.index(b"\r\n", place)
        words = []
        count, place = int(data[place + 1 : end]), end + 2
        for _ in range(count):
            end = data.index(b"\r\n", place)
            size, place = int(data[place + 1 : end]), end + 2
            words.append(data[place : place + size])
            place += size + 2
        yield words


def _grouped(commands: Iterable[Command]) -> Iterator[list[Command]]:
    group: list[Command] | None = None
    for command in commands:
        name = command[0].upper()
        if name == b"MULTI":
            group = []
        elif name == b"EXEC" and group is not None:
            yield group
            group = None
        elif name != b"SELECT":
            if group is None:
                yield [command]
            else:
                group.append(command)
