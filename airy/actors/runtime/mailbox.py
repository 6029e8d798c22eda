"""Bounded memory between actors of one process. Not durable: durable work travels by bus, questions by
mailbox.

The mailbox is owned outside the actor, so addresses stay good when the actor behind them is restarted. What
an incarnation has taken is gone with it: it is not delivered again, and its unanswered questions raise
`Crashed`. What is still queued waits for the successor. Control messages overtake data.

Nothing here awaits unless it must: a queue operation costs about 0.2 µs, an await that really waits several.
So the receiver gives way to others once per `YIELD_EVERY` messages, and before it takes, never after: a
cancellation loses no message.
"""

from typing import Generic, TypeVar

import anyio.lowlevel

from airy.actors.runtime.address import Address
from airy.actors.runtime.failure import Crashed
from airy.actors.runtime.lane import Arrival, Lane
from airy.actors.runtime.questions import Questions
from airy.actors.runtime.request import Request

M = TypeVar("M")
R = TypeVar("R")

YIELD_EVERY = 100


class Mailbox(Generic[M]):
    """The receiving end, for one actor; `address` is the sending one, for anybody."""

    def __init__(self, capacity: int, *, control_capacity: int = 64) -> None:
        if capacity < 1 or control_capacity < 1:
            raise ValueError(f"each lane needs room for a message, not {capacity} and {control_capacity}")
        self.capacity = capacity
        self.taken = 0  # ever; it also tells whoever watches that the receiver moves
        self._arrival = Arrival()
        self._data: Lane[M] = Lane(capacity, self._arrival)
        self._control: Lane[M] = Lane(control_capacity, self._arrival)
        self._questions = Questions()
        self._yield_at = YIELD_EVERY
        self.address: Address[M] = Address(self._data, self._control, self._questions)

    @property
    def used(self) -> int:
        """Messages in the data lane, which is what `capacity` bounds."""
        return len(self._data.messages)

    async def get(self) -> M:
        """The next message: control first, each lane in order. Waits while there is none."""
        if self.taken >= self._yield_at:
            await self._give_way()
        while True:
            if self._control.messages:
                message = self._control.take_one()
                break
            if self._data.messages:
                message = self._data.take_one()
                break
            await self._arrival.wait()
        self.taken += 1
        return message

    async def get_batch(self, messages_max: int) -> list[M]:
        """What is there, one at least and so many at most: control first, each lane in order."""
        if messages_max < 1:
            raise ValueError(f"a batch needs room for a message, not {messages_max}")
        if self.taken >= self._yield_at:
            await self._give_way()
        while not self._control.messages and not self._data.messages:
            await self._arrival.wait()
        batch = self._control.take(messages_max)
        if len(batch) < messages_max:
            batch += self._data.take(messages_max - len(batch))
        self.taken += len(batch)
        return batch

    def reply(self, request: Request[R], value: R) -> None:
        """Answer a question that was taken. When nobody waits for the answer any more, nothing happens."""
        question = self._questions.first(request)
        if question is not None:
            self._questions.forget(question)
            question.answer(value)

    def open(self) -> None:
        """The kernel: a receiver starts."""
        self._data.open()
        self._control.open()

    def release(self, why: str) -> None:
        """The kernel: the receiver has ended, another may follow."""
        self._questions.fail_all_but([*self._data.unread(), *self._control.unread()], Crashed(why))

    def close(self, why: str) -> None:
        """The kernel: the receiver has ended, and none follows."""
        self._questions.fail_all_but((), Crashed(why))
        self._data.close()
        self._control.close()

    async def _give_way(self) -> None:
        await anyio.lowlevel.checkpoint()
        self._yield_at = self.taken + YIELD_EVERY
