"""Sends the commands of concurrent puts to Redis in one pipeline, announced by one `PUBLISH`.

A publisher has one batch for each partition that moved; each is checked and answered separately.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from airy.errors import Unavailable
from airy.queue.redis.connection import RedisCommand

GATHER_TURNS = 2  # event loop turns to wait for more callers
COMMANDS_MAX = 1_000  # per round trip, unless one caller has more

Execute = Callable[[Sequence[RedisCommand]], Awaitable[list[Any]]]


class _Pipeline:
    __slots__ = ("commands", "error", "finished", "replies")

    def __init__(self) -> None:
        self.commands: list[RedisCommand] = []
        self.replies: list[Any] = []
        self.error: Exception | None = None
        self.finished = anyio.Event()


class PipelineBatcher:
    """`last` is appended to each pipeline; its reply is ignored."""

    def __init__(self, execute: Execute, last: RedisCommand) -> None:
        self._execute = execute
        self._last = last
        self._gathering: _Pipeline | None = None

    async def run(self, commands: Sequence[RedisCommand]) -> list[Any]:
        """The replies in order. Raises `Unavailable` if a reply is one; the other commands may have taken effect."""
        pipeline = self._gathering
        leads = pipeline is None or len(pipeline.commands) + len(commands) > COMMANDS_MAX
        if pipeline is None or leads:
            pipeline = self._gathering = _Pipeline()
        begin = len(pipeline.commands)
        pipeline.commands += commands
        if leads:
            with anyio.CancelScope(shield=True):  # the other callers wait for this one
                await self._send(pipeline)
        else:
            await pipeline.finished.wait()
        if pipeline.error is not None:
            raise pipeline.error
        replies = pipeline.replies[begin : begin + len(commands)]
        for reply in replies:
            if isinstance(reply, Unavailable):
                raise reply
        return replies

    async def _send(self, pipeline: _Pipeline) -> None:
        for _ in range(GATHER_TURNS):
            await checkpoint()
        if self._gathering is pipeline:
            self._gathering = None
        try:
            pipeline.replies = await self._execute([*pipeline.commands, self._last])
        except Exception as error:  # noqa: BLE001 - every caller in the pipeline raises it
            pipeline.error = error
        finally:
            pipeline.finished.set()
