"""The Redis queue under test: servers that are flushed before each test, and the contents of an append-only file for
replay.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
from msgspec.structs import replace
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from airy.queue.redis import RedisQueue, RedisSettings
from airy.secret import Secret
from tests.kit.servers.redis import RedisServer

PATIENCE_S = 60.0

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


def patient_queue(at: RedisSettings | str, *, cluster: bool = False, **options: Any) -> RedisQueue:
    """A queue with long time-outs: a machine that pauses for some seconds is not an unreachable Redis."""
    server = RedisSettings(url=Secret(at), cluster=cluster) if isinstance(at, str) else at
    queue = RedisQueue(replace(server, connect_s=PATIENCE_S), **options)
    queue._connection._socket_s = queue._connection._call_s = PATIENCE_S
    return queue


@asynccontextmanager
async def opened(
    server: RedisServer, *, url: RedisSettings | str = "", jobs_max: int = 1_000
) -> AsyncIterator[RedisRig]:
    """A queue on empty servers."""
    flush(server)
    queue = patient_queue(url or server.url, cluster=server.nodes > 1, jobs_max=jobs_max)
    await queue.open()
    try:
        yield RedisRig(queue, server)
    finally:
        await queue.close()


async def listening(server: RedisServer, queue: RedisQueue) -> str:
    """The id of the connection it listens on, once the server has its subscription and no other one; a requested
    subscription is not yet active.
    """
    with anyio.fail_after(PATIENCE_S):
        while True:
            lines = server.ask("CLIENT", "LIST", "TYPE", "pubsub").splitlines()[1:]
            if len(lines) == 1 and f" addr={_listener_address(queue)} " in lines[0]:
                return lines[0].split()[0]
            await anyio.sleep(0.01)


def _listener_address(queue: RedisQueue) -> str:
    connection = getattr(queue._arrivals._subscription, "connection", None)
    writer = getattr(connection, "_writer", None)
    return "{}:{}".format(*writer.get_extra_info("sockname")) if writer else "nowhere"


class Written:
    """What a server writes to its append-only file from now on. The effects of one script are one group."""

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


def replay_commands(server: RedisServer, commands: Iterable[Command]) -> None:
    """Replays commands as a server does when it loads its file."""
    address = urlsplit(server.url)
    waits: dict[str, Any] = {"socket_timeout": PATIENCE_S, "retry": Retry(NoBackoff(), 0)}  # nothing is sent twice
    with Redis(host=address.hostname or "", port=address.port or 0, **waits) as client:
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
