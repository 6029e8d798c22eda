"""Bounded in-memory queue between actors of one process. Not durable: durable work goes through the bus.

The mailbox is created outside the actor, so addresses stay valid across its restarts. Messages taken by an actor that
then crashes are not redelivered, and its unanswered requests raise `Crashed`. Queued messages wait for the restarted
actor. Control messages are received before data messages.

A queue operation costs about 0.2 µs, an await that suspends several µs, so operations await only when they must. The
receiver yields to other tasks once per `YIELD_EVERY` messages, before it takes a message: cancellation loses none.
"""

from typing import Generic, TypeVar

import anyio.lowlevel

from airy.actors.runtime.address import Address
from airy.actors.runtime.bounded_queue import Arrival, BoundedQueue
from airy.actors.runtime.failure import Crashed
from airy.actors.runtime.pending_replies import PendingReplies
from airy.actors.runtime.request import Request

M = TypeVar("M")
R = TypeVar("R")

YIELD_EVERY = 100


class Mailbox(Generic[M]):
    """The receiving end, used by one actor; `address` is the sending end."""

    def __init__(self, capacity: int, *, control_capacity: int = 64) -> None:
        if capacity < 1 or control_capacity < 1:
            raise ValueError(f"capacity and control_capacity must be at least 1, not {capacity} and {control_capacity}")
        self.capacity = capacity
        self.taken = 0  # messages received since creation; the worker counts a change as progress
        self._arrival = Arrival()
        self._data: BoundedQueue[M] = BoundedQueue(capacity, self._arrival)
        self._control: BoundedQueue[M] = BoundedQueue(control_capacity, self._arrival)
        self._pending_replies = PendingReplies()
        self._yield_at = YIELD_EVERY
        self.address: Address[M] = Address(self._data, self._control, self._pending_replies)

    @property
    def used(self) -> int:
        """Queued data messages; `capacity` is their bound."""
        return len(self._data.messages)

    async def get(self) -> M:
        """The next message, control before data, each in order. Waits while there is none."""
        if self.taken >= self._yield_at:
            await self._yield()
        while True:
            if self._control.messages:
                message = self._control.get()
                break
            if self._data.messages:
                message = self._data.get()
                break
            await self._arrival.wait()
        self.taken += 1
        return message

    async def get_batch(self, messages_max: int) -> list[M]:
        """1 to `messages_max` messages, control before data, each in order. Waits while there is none."""
        if messages_max < 1:
            raise ValueError(f"messages_max must be at least 1, not {messages_max}")
        if self.taken >= self._yield_at:
            await self._yield()
        while not self._control.messages and not self._data.messages:
            await self._arrival.wait()
        batch = self._control.get_batch(messages_max)
        if len(batch) < messages_max:
            batch += self._data.get_batch(messages_max - len(batch))
        self.taken += len(batch)
        return batch

    def reply(self, request: Request[R], value: R) -> None:
        """Reply to a received request. Does nothing if the caller of `ask` no longer waits."""
        reply = self._pending_replies.first(request)
        if reply is not None:
            self._pending_replies.discard(reply)
            reply.answer(value)

    def open(self) -> None:
        """Called by the runtime: the actor starts."""
        self._data.open()
        self._control.open()

    def release(self, reason: str) -> None:
        """Called by the runtime: the actor ended and may be restarted."""
        self._pending_replies.fail_taken([*self._data.pending(), *self._control.pending()], Crashed(reason))

    def close(self, reason: str) -> None:
        """Called by the runtime: the actor ended for good."""
        self._pending_replies.fail_taken((), Crashed(reason))
        self._data.close()
        self._control.close()

    async def _yield(self) -> None:
        await anyio.lowlevel.checkpoint()
        self._yield_at = self.taken + YIELD_EVERY
