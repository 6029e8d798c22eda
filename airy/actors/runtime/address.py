"""The sending end of a mailbox. It stays valid when the actor behind it restarts.

`tell` waits while the mailbox is full, `offer` drops instead of waiting, `ask` waits for a reply up to a deadline.
Waiting here counts as expected, so back-pressure is never reported as a stall.
"""

from typing import Generic, TypeVar, cast

import anyio

from airy.actors.runtime.bounded_queue import BoundedQueue
from airy.actors.runtime.failure import Crashed, TimedOut
from airy.actors.runtime.pending_replies import PendingReplies
from airy.actors.runtime.progress import expected_wait
from airy.actors.runtime.request import Request

M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")


class Address(Generic[M_contra]):
    """`tell` and `ask` raise `Crashed` after the receiver has ended for good; `offer` then returns False."""

    __slots__ = ("_control", "_data", "_pending_replies")

    def __init__(
        self, data: BoundedQueue[M_contra], control: BoundedQueue[M_contra], pending_replies: PendingReplies
    ) -> None:
        self._data = data
        self._control = control
        self._pending_replies = pending_replies

    async def tell(self, message: M_contra) -> None:
        if not self._data.try_put(message):
            await _put_or_raise(self._data, message)

    async def tell_control(self, message: M_contra) -> None:
        """Control messages are received before data messages and keep their own order."""
        if not self._control.try_put(message):
            await _put_or_raise(self._control, message)

    def offer(self, message: M_contra) -> bool:
        """False if the queue is full or closed; the message is then not queued."""
        return self._data.try_put(message)

    async def ask(self, request: Request[R], *, within_s: float) -> R:
        """The reply. Raises `Crashed` if the actor ends after receiving the request, `TimedOut` after `within_s`."""
        message = cast("M_contra", request)
        reply = self._pending_replies.open(request)
        try:
            with anyio.move_on_after(within_s), expected_wait():
                await self.tell(message)
                await reply.settled.wait()
        finally:
            self._pending_replies.discard(reply)
        if reply.error is not None:
            raise reply.error
        if not reply.settled.is_set():
            raise TimedOut(f"no answer to {type(request).__name__} within {within_s} s")
        return cast("R", reply.value)


async def _put_or_raise(queue: BoundedQueue[M_contra], message: M_contra) -> None:
    if not await queue.put(message):
        raise Crashed("the receiver has ended and accepts no more messages")
