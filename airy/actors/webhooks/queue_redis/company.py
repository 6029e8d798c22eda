"""What is put into several shards at about the same time goes to Redis in one round trip, and is announced once.

A publisher has a batch for each partition that moved; each is checked and answered by itself.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from airy.actors.webhooks.queue_redis.wire import Call
from airy.errors import Unavailable

TURNS = 2  # of the event loop, to wait for company
CALLS_MAX = 1_000  # per round trip, unless one has more

Attempt = Callable[[Sequence[Call]], Awaitable[list[Any]]]


class _Group:
    __slots__ = ("answered", "answers", "calls", "error")

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answers: list[Any] = []
        self.error: Exception | None = None
        self.answered = anyio.Event()


class Company:
    """`last` ends each round trip; whether it worked matters to nobody."""

    def __init__(self, attempt: Attempt, last: Call) -> None:
        self._attempt = attempt
        self._last = last
        self._gathering: _Group | None = None

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """The answers in order. Raises `Unavailable` if one of them says so; others may have had their effect."""
        group = self._gathering
        leads = group is None or len(group.calls) + len(calls) > CALLS_MAX
        if group is None or leads:
            group = self._gathering = _Group()
        begin = len(group.calls)
        group.calls += calls
        if leads:
            with anyio.CancelScope(shield=True):  # the others wait for it
                await self._send(group)
        else:
            await group.answered.wait()
        if group.error is not None:
            raise group.error
        answers = group.answers[begin : begin + len(calls)]
        for answer in answers:
            if isinstance(answer, Unavailable):
                raise answer
        return answers

    async def _send(self, group: _Group) -> None:
        for _ in range(TURNS):
            await checkpoint()
        if self._gathering is group:
            self._gathering = None
        try:
            group.answers = await self._attempt([*group.calls, self._last])
        except Exception as error:  # noqa: BLE001 - everybody in the group raises it
            group.error = error
        finally:
            group.answered.set()
