"""The connection to Redis, one server or a cluster: pipelines of commands and scripts, and what their errors mean.

Nothing is ever sent twice here, except what Redis itself says it did not do: the client's own retries are off, for an
answer that is lost says nothing about the effect. A cluster's client is disposable: after a failure the next call
asks anew who has which slot.
"""

from collections.abc import Sequence
from typing import Any

import anyio
import redis.exceptions as errors
from msgspec import Struct
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from airy.actors.webhooks.queue_redis.scripts import ALL, Script
from airy.errors import Refused, Unavailable
from airy.secret import Secret

CONNECTIONS_MAX = 32
CONNECT_S = 3.0
SOCKET_S = 5.0  # for one answer; whatever blocks must block for less
CALL_S = 15.0  # for a pipeline, with the wait for a connection
CLOSE_S = 2.0

TRANSIENT = (
    errors.ConnectionError, errors.TimeoutError, errors.OutOfMemoryError, errors.ReadOnlyError, errors.ClusterError,
    errors.AskError, errors.TryAgainError, errors.SlotNotCoveredError, errors.RedisClusterException, OSError,
)  # fmt: skip
TRANSIENT_CODES = ("MISCONF", "NOREPLICAS", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "LOADING", "OOM", "READONLY")
FAILURES = (*TRANSIENT, errors.RedisError, TimeoutError)
UNLINKED = (errors.ConnectionError, errors.TimeoutError, errors.ClusterError, errors.RedisClusterException, OSError)


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
    def __init__(self, url: str | Secret, *, cluster: bool, call_s: float = CALL_S, socket_s: float = SOCKET_S) -> None:
        self._url = url.reveal() if isinstance(url, Secret) else url
        self._cluster = cluster
        self._call_s = call_s
        self._options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0), "socket_timeout": socket_s, "socket_connect_timeout": CONNECT_S,
            "max_connections": CONNECTIONS_MAX, "protocol": 2,
        }  # fmt: skip
        self._client: Any = None

    async def open(self) -> None:
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
        """The answers in order; of a call that cannot be served now, its `Unavailable`."""
        answers = await self._run(calls)
        missed = [place for place, answer in enumerate(answers) if isinstance(answer, errors.NoScriptError)]
        if missed:  # they did nothing: the server is new, or was restarted
            await self.load()
            for place, answer in zip(missed, await self._run([calls[place] for place in missed]), strict=True):
                answers[place] = answer
        failures = [answer for answer in answers if isinstance(answer, Exception)]
        if failures:
            await self._failed(failures)
            answers = [meaning(answer) if isinstance(answer, Exception) else answer for answer in answers]
            for answer in answers:
                if isinstance(answer, Exception) and not isinstance(answer, Unavailable):
                    raise answer
        return answers

    async def one(self, call: Call) -> Any:
        return (await self.run([call]))[0]

    async def everywhere(self, *commands: tuple[Any, ...]) -> list[list[Any]]:
        """The same commands on every master; the answers per master."""
        nodes = await self._masters()
        answers = await self.run([Call(words, node=node) for node in nodes for words in commands])
        return [answers[begin : begin + len(commands)] for begin in range(0, len(answers), len(commands))]

    async def load(self) -> None:
        await self.everywhere(*(("SCRIPT LOAD", each.text) for each in ALL))

    def listener(self) -> tuple[PubSub, Redis]:
        """A subscription with a client of its own; in a cluster any node will do."""
        client = Redis.from_url(self._url, **self._options)
        return client.pubsub(), client

    async def _masters(self) -> list[Any]:
        if not self._cluster:
            return [None]
        masters: list[Any] = (await self._introduced()).get_primaries()
        return masters

    async def _introduced(self) -> Any:
        """A cluster's client that knows who has which slot."""
        client = self._opened()
        try:
            with anyio.fail_after(self._call_s):
                await client.initialize()
        except FAILURES as error:
            await self._failed([error])
            raise meaning(error) from error
        return client

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        """The answers, or the errors. In a cluster each node is asked on its own, so that one that is away takes
        nothing else along.
        """
        answers: list[Any] = [None] * len(calls)
        if not self._cluster:
            await self._ask(self._opened(), calls, range(len(calls)), {}, answers)
            return answers
        client = await self._introduced()
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
        return answers

    async def _ask(
        self, client: Any, calls: Sequence[Call], places: Sequence[int], options: dict[str, Any], answers: list[Any]
    ) -> None:
        pipeline = client.pipeline(transaction=False)
        for place in places:
            pipeline.execute_command(*calls[place].words, **({} if calls[place].key else options))
        try:
            with anyio.fail_after(self._call_s):
                said = await pipeline.execute(raise_on_error=False)
        except FAILURES as error:
            said = [error] * len(places)
        for place, answer in zip(places, said, strict=True):
            answers[place] = answer

    async def _failed(self, failures: Sequence[Exception]) -> None:
        """A cluster's client that lost a node keeps asking it, so we take a new one."""
        if self._cluster and self._client is not None and any(isinstance(error, UNLINKED) for error in failures):
            client, self._client = self._client, self._made()
            await _disposed(client)

    def _made(self) -> Any:
        if self._cluster:
            return RedisCluster.from_url(self._url, **self._options)
        pool = BlockingConnectionPool.from_url(self._url, timeout=self._call_s, **self._options)
        return Redis.from_pool(pool)

    def _opened(self) -> Any:
        if self._client is None:
            raise Unavailable("the webhook queue is not open")
        return self._client


async def _disposed(client: Any) -> None:
    """What it raises on its way out concerns nobody any more."""
    if client is None:
        return
    with anyio.move_on_after(CLOSE_S, shield=True):
        try:
            await client.aclose()
        except TRANSIENT:
            return


def meaning(error: Exception) -> Exception:
    """What a failure is to us: the same call may work later, or nobody may call us like this, or a bug."""
    if isinstance(error, errors.AuthenticationError | errors.AuthorizationError | errors.NoPermissionError):
        return Refused(f"redis lets us not do that: {error}")
    if isinstance(error, TRANSIENT) or str(error).startswith(TRANSIENT_CODES):
        return Unavailable(f"the webhook queue's redis cannot serve: {str(error) or type(error).__name__}")
    return error
