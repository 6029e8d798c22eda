"""The connection to Redis, one server or a cluster: pipelines of commands and scripts.

Nothing is sent twice, except what Redis itself reports as not executed. The client's own retries are off, because a
lost reply leaves the effect unknown. A cluster client is disposable: after a failure the next call uses a new one,
which queries the slot map again.

No script runs on part of a shard. Its one declared key never exists, so while a slot is being moved its old node
answers each call with ASK. That is not followed: the new node has only the keys moved so far. The calls succeed again
once it has all of them.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import redis.exceptions as errors
from msgspec import Struct
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub

from airy.errors import Unavailable
from airy.queue.redis.errors import FAILURES, SERVER_LOST, TRANSIENT, translate
from airy.queue.redis.scripts import ALL, Script
from airy.queue.redis.settings import Node, RedisSettings, discard_connections

SOCKET_S = 5.0  # for one reply; a blocking command must block for less
CALL_S = 15.0  # for a pipeline, including the wait for a connection
CLOSE_S = 2.0


class RedisCommand(Struct, frozen=True, gc=False):
    """A command, or a script over the keys of one hash tag. Without a key it is sent to `node`, or to any node."""

    words: tuple[Any, ...]
    key: str = ""
    node: Any = None


def script(which: Script, base: str, *arguments: Any) -> RedisCommand:
    return RedisCommand(("EVALSHA", which.sha, 1, base, *arguments), base)


def command(name: str, key: str, *arguments: Any) -> RedisCommand:
    return RedisCommand((name, key, *arguments), key)


class RedisConnection:
    def __init__(self, settings: RedisSettings, *, call_s: float = CALL_S, socket_s: float = SOCKET_S) -> None:
        self._settings = settings
        self._cluster = settings.cluster
        self._call_s = call_s
        self._socket_s = socket_s
        self._pipeline_options = {"allow_redirections": False} if settings.cluster else {}
        self._client: Any = None
        self._nodes: list[Node] = []  # of a cluster, as last known
        self._listeners = 0
        self.losses = 0  # how often the server was lost; the next connection may reach another one

    async def open(self) -> None:
        """Raises `Refused` for settings that cannot work."""
        self._settings.check()
        self._client = self._new_client()

    async def close(self) -> None:
        client, self._client = self._client, None
        await _close(client)

    async def execute(self, commands: Sequence[RedisCommand]) -> list[Any]:
        """The replies in order. Raises `Unavailable` if a reply is one; the other commands may have taken effect."""
        replies = await self.try_execute(commands)
        for reply in replies:
            if isinstance(reply, Unavailable):
                raise reply
        return replies

    async def execute_one(self, command: RedisCommand) -> Any:
        return (await self.execute([command]))[0]

    async def try_execute(self, commands: Sequence[RedisCommand]) -> list[Any]:
        """The replies in order; an `Unavailable` for each command that cannot be served now. Raises `AccessDenied`,
        which concerns every server and must reach an operator.
        """
        replies = await self._execute(commands)
        await self._resend(commands, replies, errors.MovedError, self._update_slots)  # another node owns the slot now
        await self._resend(commands, replies, errors.NoScriptError, self._load_scripts)  # new or restarted server
        replies = [translate(reply) if isinstance(reply, Exception) else reply for reply in replies]
        for reply in replies:
            if isinstance(reply, Exception) and type(reply) is not Unavailable:
                raise reply
        return replies

    async def _resend(
        self,
        commands: Sequence[RedisCommand],
        replies: list[Any],
        rejection: type[Exception],
        repair: Callable[[list[Any]], Awaitable[None]],
    ) -> None:
        """Send once more what Redis rejected without executing, after the cause was repaired."""
        rejected = [index for index, reply in enumerate(replies) if isinstance(reply, rejection)]
        if rejected:
            await repair([replies[index] for index in rejected])
            for index, reply in zip(
                rejected, await self._execute([commands[index] for index in rejected]), strict=True
            ):
                replies[index] = reply

    async def on_each_master(self, *commands: tuple[Any, ...]) -> list[list[Any]]:
        """Run the same commands on every master; returns the replies per master."""
        nodes = await self._masters()
        replies = await self.execute([RedisCommand(words, node=node) for node in nodes for words in commands])
        return [replies[begin : begin + len(commands)] for begin in range(0, len(replies), len(commands))]

    async def _update_slots(self, moved: list[Any]) -> None:
        nodes = self._open_client().nodes_manager
        for error in moved:
            if error.slot_id in nodes.slots_cache:  # otherwise the client is new and queries the slots before anything
                await nodes.move_slot(error)

    async def _load_scripts(self, _: list[Any]) -> None:
        await self.on_each_master(*(("SCRIPT LOAD", each.text) for each in ALL))

    def listener(self) -> tuple[PubSub, Redis]:
        """A subscription with a client of its own."""
        self._listeners += 1  # another node each time: the previous one may be gone
        node = self._nodes[self._listeners % len(self._nodes)] if self._nodes else None
        client = self._settings.listener(socket_s=self._socket_s, node=node)
        return client.pubsub(), client

    async def _masters(self) -> list[Any]:
        if not self._cluster:
            return [None]
        masters: list[Any] = (await self._cluster_client()).get_primaries()
        return masters

    async def _cluster_client(self) -> Any:
        """A client that knows the slot map."""
        while True:
            client = self._open_client()
            try:
                with anyio.fail_after(self._call_s):
                    await client.initialize()
            except FAILURES as error:
                await self._replace_client(client)
                raise translate(error) from error
            if client is self._client:
                self._nodes = [(node.host, node.port) for node in client.get_nodes()]
                return client
            await _close(client)

    async def _execute(self, commands: Sequence[RedisCommand]) -> list[Any]:
        """The replies, or the errors. In a cluster each node has a pipeline of its own, so that the loss of one affects
        no other.
        """
        replies: list[Any] = [None] * len(commands)
        client = await self._cluster_client() if self._cluster else self._open_client()
        try:
            if self._cluster:
                await self._execute_per_node(client, commands, replies)
            else:
                await self._execute_pipeline(client, commands, range(len(commands)), {}, replies)
            if any(isinstance(reply, SERVER_LOST) for reply in replies):
                await self._replace_client(client)
        finally:
            if self._cluster and client is not self._client:  # replaced meanwhile; using it has opened it again
                await _close(client)
        return replies

    async def _execute_per_node(self, client: Any, commands: Sequence[RedisCommand], replies: list[Any]) -> None:
        indices_of: dict[str, list[int]] = {}
        nodes: dict[str, Any] = {}
        for index, each in enumerate(commands):
            try:
                node = client.get_node_from_key(each.key) if each.key else each.node or client.get_default_node()
            except errors.SlotNotCoveredError as error:
                replies[index] = error
            else:
                nodes[node.name] = node
                indices_of.setdefault(node.name, []).append(index)
        async with anyio.create_task_group() as tasks:
            for name, indices in indices_of.items():
                options = {"target_nodes": [nodes[name]]}
                tasks.start_soon(self._execute_pipeline, client, commands, indices, options, replies)

    async def _execute_pipeline(
        self,
        client: Any,
        commands: Sequence[RedisCommand],
        indices: Sequence[int],
        options: dict[str, Any],
        replies: list[Any],
    ) -> None:
        pipeline = client.pipeline(transaction=False)
        for index in indices:
            pipeline.execute_command(*commands[index].words, **({} if commands[index].key else options))
        try:
            with anyio.fail_after(self._call_s):
                received = await pipeline.execute(raise_on_error=False, **self._pipeline_options)
        except FAILURES as error:
            received = [error] * len(indices)
        for index, reply in zip(indices, received, strict=True):
            replies[index] = reply

    async def _replace_client(self, client: Any) -> None:
        """Drop every connection to a server that is away or is not the master any more: if its address leads to another
        server now, open connections would stay with the old one. A cluster client that lost a node keeps using it, so
        it is replaced, once.
        """
        if client is not self._client:
            return
        self.losses += 1
        if self._cluster:
            self._client = self._new_client()
            await _close(client)
        else:
            await _ignore_errors(discard_connections(client))

    def _new_client(self) -> Any:
        return self._settings.client(socket_s=self._socket_s, call_s=self._call_s, nodes=self._nodes)

    def _open_client(self) -> Any:
        if self._client is None:
            raise Unavailable("the webhook queue is not open")
        return self._client


async def _close(client: Any) -> None:
    if client is not None:
        await _ignore_errors(client.aclose())
    if isinstance(client, RedisCluster):  # it counts as closed already, and has opened connections since
        await _ignore_errors(client.nodes_manager.aclose())
        await _ignore_errors(client.nodes_manager.aclose("startup_nodes"))


async def _ignore_errors(closing: Awaitable[object]) -> None:
    """Bounded by `CLOSE_S`; a failure to close is not reported."""
    with anyio.move_on_after(CLOSE_S, shield=True):
        try:
            await closing
        except TRANSIENT:
            return
