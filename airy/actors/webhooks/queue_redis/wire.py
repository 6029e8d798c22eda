"""The connection to Redis, one server or a cluster: pipelines of commands and scripts, and what their errors mean.

Nothing is ever sent twice here, except what Redis itself says it did not do: the client's own retries are off, for an
answer that is lost says nothing about the effect. A cluster's client is disposable: after a failure the next call
asks anew who has which slot.

No script ever sees a part of a shard. Its one declared key never exists, so while a slot is being moved its old node
answers each call with ASK, and that is not followed: the new one has only what was moved by then. The calls work again
once it has all of it.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import redis.exceptions as errors
from msgspec import Struct
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub

from airy.actors.webhooks.queue_redis.scripts import ALL, Script
from airy.actors.webhooks.queue_redis.server import Node, Server, renew
from airy.errors import Unavailable

SOCKET_S = 5.0  # for one answer; whatever blocks must block for less
CALL_S = 15.0  # for a pipeline, with the wait for a connection
CLOSE_S = 2.0
CHECK = "; is it up, and does it want TLS (rediss://), another queue.redis.caFile, or a certFile and keyFile?"

TRANSIENT = (
    errors.ConnectionError,
    errors.TimeoutError,
    errors.OutOfMemoryError,
    errors.ReadOnlyError,
    errors.ClusterError,
    errors.AskError,
    errors.TryAgainError,
    errors.SlotNotCoveredError,
    errors.RedisClusterException,
    OSError,
)
TRANSIENT_CODES = ("MISCONF", "NOREPLICAS", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "LOADING", "OOM", "READONLY")
FAILURES = (*TRANSIENT, errors.RedisError, TimeoutError)
DENIED = (errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError)
DENIED_WORDS = ("NOPERM", "ACL failure in script", "The user executing the script can't")  # within scripts
UNLINKED = (errors.ConnectionError, errors.TimeoutError, errors.ClusterError, errors.RedisClusterException, OSError)
LOST = (*UNLINKED, errors.ReadOnlyError)


class Denied(Unavailable):
    """Redis does not know us, or lets us not do that. Somebody may let us again, so whoever is at work waits."""


class Call(Struct, frozen=True, gc=False):
    """A command, or a script over the keys of one hash tag. Without a key it goes to `node`, or any."""

    words: tuple[Any, ...]
    key: str = ""
    node: Any = None


def script(which: Script, base: str, *arguments: Any) -> Call:
    return Call(("EVALSHA", which.sha, 1, base, *arguments), base)


def command(name: str, key: str, *arguments: Any) -> Call:
    return Call((name, key, *arguments), key)


class Wire:
    def __init__(self, server: Server, *, call_s: float = CALL_S, socket_s: float = SOCKET_S) -> None:
        self._server = server
        self._cluster = server.cluster
        self._call_s = call_s
        self._socket_s = socket_s
        self._not_followed = {"allow_redirections": False} if server.cluster else {}
        self._client: Any = None
        self._nodes: list[Node] = []  # of a cluster, as it was last
        self._listeners = 0
        self.losses = 0  # how often the server was lost; the next may be another one

    async def open(self) -> None:
        """Raises `Refused` for what the server has to be told first."""
        self._server.check()
        self._client = self._made()

    async def close(self) -> None:
        client, self._client = self._client, None
        await _disposed(client)

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """The answers in order. Raises `Unavailable` if one says so; others may have had their effect."""
        answers = await self.attempt(calls)
        for answer in answers:
            if isinstance(answer, Unavailable):
                raise answer
        return answers

    async def attempt(self, calls: Sequence[Call]) -> list[Any]:
        """The answers in order; of a call that cannot be served now, its `Unavailable`. Raises `Denied`: that is no
        matter of one server, and has to be heard of.
        """
        answers = await self._run(calls)
        await self._again(calls, answers, errors.MovedError, self._learn)  # another node has the slot now
        await self._again(calls, answers, errors.NoScriptError, self._load)  # the server is new, or was restarted
        answers = [meaning(answer) if isinstance(answer, Exception) else answer for answer in answers]
        for answer in answers:
            if isinstance(answer, Exception) and type(answer) is not Unavailable:
                raise answer
        return answers

    async def _again(
        self,
        calls: Sequence[Call],
        answers: list[Any],
        undone: type[Exception],
        mend: Callable[[list[Any]], Awaitable[None]],
    ) -> None:
        """Once more what Redis says it did not do, after what made it so was mended."""
        missed = [place for place, answer in enumerate(answers) if isinstance(answer, undone)]
        if missed:
            await mend([answers[place] for place in missed])
            for place, answer in zip(missed, await self._run([calls[place] for place in missed]), strict=True):
                answers[place] = answer

    async def one(self, call: Call) -> Any:
        return (await self.run([call]))[0]

    async def everywhere(self, *commands: tuple[Any, ...]) -> list[list[Any]]:
        """The same commands on every master; the answers per master."""
        nodes = await self._masters()
        answers = await self.run([Call(words, node=node) for node in nodes for words in commands])
        return [answers[begin : begin + len(commands)] for begin in range(0, len(answers), len(commands))]

    async def _learn(self, moved: list[Any]) -> None:
        nodes = self._opened().nodes_manager
        for error in moved:
            if error.slot_id in nodes.slots_cache:  # if not, the client is new and asks before it does anything
                await nodes.move_slot(error)

    async def _load(self, _: list[Any]) -> None:
        await self.everywhere(*(("SCRIPT LOAD", each.text) for each in ALL))

    def listener(self) -> tuple[PubSub, Redis]:
        """A subscription with a client of its own."""
        self._listeners += 1  # another node each time: the one before may be gone
        node = self._nodes[self._listeners % len(self._nodes)] if self._nodes else None
        client = self._server.listener(socket_s=self._socket_s, node=node)
        return client.pubsub(), client

    async def _masters(self) -> list[Any]:
        if not self._cluster:
            return [None]
        masters: list[Any] = (await self._introduced()).get_primaries()
        return masters

    async def _introduced(self) -> Any:
        """A cluster's client that knows who has which slot."""
        while True:
            client = self._opened()
            try:
                with anyio.fail_after(self._call_s):
                    await client.initialize()
            except FAILURES as error:
                await self._lost(client)
                raise meaning(error) from error
            if client is self._client:
                self._nodes = [(node.host, node.port) for node in client.get_nodes()]
                return client
            await _disposed(client)

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        """The answers, or the errors. In a cluster each node is asked on its own, so that one that is away takes
        nothing else along.
        """
        answers: list[Any] = [None] * len(calls)
        client = await self._introduced() if self._cluster else self._opened()
        try:
            if self._cluster:
                await self._ask_each(client, calls, answers)
            else:
                await self._ask(client, calls, range(len(calls)), {}, answers)
            if any(isinstance(answer, LOST) for answer in answers):
                await self._lost(client)
        finally:
            if self._cluster and client is not self._client:  # given up meanwhile; it opens itself again when used
                await _disposed(client)
        return answers

    async def _ask_each(self, client: Any, calls: Sequence[Call], answers: list[Any]) -> None:
        places: dict[str, list[int]] = {}
        nodes: dict[str, Any] = {}
        for place, call in enumerate(calls):
            try:
                node = client.get_node_from_key(call.key) if call.key else call.node or client.get_default_node()
            except errors.SlotNotCoveredError as error:
                answers[place] = error
            else:
                nodes[node.name] = node
                places.setdefault(node.name, []).append(place)
        async with anyio.create_task_group() as tasks:
            for name, of in places.items():
                options = {"target_nodes": [nodes[name]]}
                tasks.start_soon(self._ask, client, calls, of, options, answers)

    async def _ask(
        self, client: Any, calls: Sequence[Call], places: Sequence[int], options: dict[str, Any], answers: list[Any]
    ) -> None:
        pipeline = client.pipeline(transaction=False)
        for place in places:
            pipeline.execute_command(*calls[place].words, **({} if calls[place].key else options))
        try:
            with anyio.fail_after(self._call_s):
                said = await pipeline.execute(raise_on_error=False, **self._not_followed)
        except FAILURES as error:
            said = [error] * len(places)
        for place, answer in zip(places, said, strict=True):
            answers[place] = answer

    async def _lost(self, client: Any) -> None:
        """Nothing goes on over connections to a server that is away, or is not the master any more: where the address
        leads to another one now, they would stay with the old one for ever. A cluster's client that lost a node keeps
        asking it, so we take a new one, once.
        """
        if client is not self._client:
            return
        self.losses += 1
        if self._cluster:
            self._client = self._made()
            await _disposed(client)
        else:
            await _quietly(renew(client))

    def _made(self) -> Any:
        return self._server.client(socket_s=self._socket_s, call_s=self._call_s, nodes=self._nodes)

    def _opened(self) -> Any:
        if self._client is None:
            raise Unavailable("the webhook queue is not open")
        return self._client


async def _disposed(client: Any) -> None:
    if client is not None:
        await _quietly(client.aclose())
    if isinstance(client, RedisCluster):  # which believes to be closed, and has opened connections since
        await _quietly(client.nodes_manager.aclose())
        await _quietly(client.nodes_manager.aclose("startup_nodes"))


async def _quietly(closing: Awaitable[object]) -> None:
    """What it raises on its way out concerns nobody any more."""
    with anyio.move_on_after(CLOSE_S, shield=True):
        try:
            await closing
        except TRANSIENT:
            return


def meaning(error: Exception) -> Exception:
    """What a failure is to us: the same call may work later, or a bug."""
    said = str(error) or type(error).__name__
    if isinstance(error, errors.NoPermissionError | errors.AuthorizationError) or any(
        words in said for words in DENIED_WORDS
    ):
        return Denied(f"redis lets our user not do that; `airy queue acl` prints what it needs: {error}")
    if isinstance(error, errors.AuthenticationError):
        return Denied(f"redis refuses the user or the password of queue.redis.url: {error}")
    if isinstance(error, errors.AskError):
        return Unavailable(f"the webhook queue's redis moves a slot to another node, and has not finished: {said}")
    if isinstance(error, TRANSIENT) or str(error).startswith(TRANSIENT_CODES):
        check = CHECK if isinstance(error, UNLINKED) else ""
        return Unavailable(f"the webhook queue's redis cannot serve: {said}{check}")
    return error
