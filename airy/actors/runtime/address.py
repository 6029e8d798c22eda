"""The sending end of a mailbox. Survives restarts of the actor behind it.

Three verbs, because they are three decisions: `tell` waits while the mailbox is full, `offer` sheds, `ask`
wants an answer by a time. Waiting here is silence on purpose: back-pressure never looks like being stuck.
"""

from typing import Generic, TypeVar, cast

import anyio

from airy.actors.runtime.failure import Crashed, TimedOut
from airy.actors.runtime.heart import on_purpose
from airy.actors.runtime.lane import Lane
from airy.actors.runtime.questions import Questions
from airy.actors.runtime.request import Request

M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")


class Address(Generic[M_contra]):
    """`tell` and `ask` raise `Crashed` when the receiver has ended for good; `offer` returns False."""

    __slots__ = ("_control", "_data", "_questions")

    def __init__(self, data: Lane[M_contra], control: Lane[M_contra], questions: Questions) -> None:
        self._data = data
        self._control = control
        self._questions = questions

    async def tell(self, message: M_contra) -> None:
        if not self._data.add(message):
            await _admission(self._data, message)

    async def tell_control(self, message: M_contra) -> None:
        """Overtakes data; keeps its order among control messages."""
        if not self._control.add(message):
            await _admission(self._control, message)

    def offer(self, message: M_contra) -> bool:
        """False when there is no room; what then happens to the message is the sender's explicit choice."""
        return self._data.add(message)

    async def ask(self, request: Request[R], *, within_s: float) -> R:
        """Raises `Crashed` if the actor ends while it has the question, `TimedOut` if the answer takes too
        long.
        """
        message = cast("M_contra", request)
        question = self._questions.open(request)
        try:
            with anyio.move_on_after(within_s), on_purpose():
                await self.tell(message)
                await question.decided.wait()
        finally:
            self._questions.forget(question)
        if question.error is not None:
            raise question.error
        if not question.decided.is_set():
            raise TimedOut(f"no answer to {type(request).__name__} within {within_s} s")
        return cast("R", question.value)


async def _admission(lane: Lane[M_contra], message: M_contra) -> None:
    if not await lane.admission(message):
        raise Crashed("the receiver has ended and takes no more messages")
