"""A bounded FIFO queue with FIFO waiters: a freed slot goes to the first waiting sender, so no sender is overtaken."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import anyio

from airy.actors.runtime.progress import expected_wait

M = TypeVar("M")


class Arrival:
    """Signals the receiver that one of its queues has a message; the queues of a mailbox share it."""

    __slots__ = ("event",)

    def __init__(self) -> None:
        self.event: anyio.Event | None = None  # set only while the receiver waits

    def notify(self) -> None:
        if self.event is not None:
            self.event.set()
            self.event = None

    async def wait(self) -> None:
        if self.event is None:
            self.event = anyio.Event()
        with expected_wait():
            await self.event.wait()


class Waiter(Generic[M]):
    """A sender waiting for a slot. `settled` is set when its message is `admitted` or the queue is closed."""

    __slots__ = ("admitted", "message", "settled")

    def __init__(self, message: M) -> None:
        self.message = message
        self.settled = anyio.Event()
        self.admitted = False


class BoundedQueue(Generic[M]):
    __slots__ = ("_arrival", "_limit", "_waiters", "capacity", "messages")

    def __init__(self, capacity: int, arrival: Arrival) -> None:
        self.capacity = capacity
        self.messages: deque[M] = deque()
        self._arrival = arrival
        self._waiters: deque[Waiter[M]] = deque()
        self._limit = capacity  # 0 while closed

    def try_put(self, message: M) -> bool:
        """False if the queue is full or closed."""
        if len(self.messages) >= self._limit:
            return False
        self.messages.append(message)
        if self._arrival.event is not None:
            self._arrival.notify()
        return True

    async def put(self, message: M) -> bool:
        """Wait for a slot behind earlier waiters. False: closed. A cancelled call leaves nothing in the queue."""
        if not self._limit:
            return False
        waiter = Waiter(message)
        self._waiters.append(waiter)
        try:
            with expected_wait():
                await waiter.settled.wait()
        finally:
            if not waiter.settled.is_set():
                self._waiters.remove(waiter)
        return waiter.admitted

    def get(self) -> M:
        message = self.messages.popleft()
        if self._waiters:
            self._admit_waiters()
        return message

    def get_batch(self, messages_max: int) -> list[M]:
        messages = self.messages
        if len(messages) <= messages_max:
            batch = list(messages)
            messages.clear()
        else:
            batch = [messages.popleft() for _ in range(messages_max)]
        if self._waiters:
            self._admit_waiters()
        return batch

    def pending(self) -> Iterator[M]:
        """Messages the receiver has not taken, including those of waiting senders."""
        yield from self.messages
        yield from (waiter.message for waiter in self._waiters)

    def open(self) -> None:
        self._limit = self.capacity

    def close(self) -> None:
        """Drop queued messages, reject waiting senders, and reject every put until `open`."""
        self._limit = 0
        self.messages.clear()
        while self._waiters:
            self._waiters.popleft().settled.set()

    def _admit_waiters(self) -> None:
        while self._waiters and len(self.messages) < self._limit:
            waiter = self._waiters.popleft()
            self.messages.append(waiter.message)
            waiter.admitted = True
            waiter.settled.set()
