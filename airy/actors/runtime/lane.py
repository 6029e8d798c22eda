"""One bounded queue: messages in order, and those who wait for a place, in order too.

Handing a freed place to the first who waits, instead of waking everybody, keeps it fair: nobody overtakes.
"""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import anyio

from airy.actors.runtime.heart import on_purpose

M = TypeVar("M")


class Arrival:
    """The lanes of a mailbox share it: who receives sets the event and waits, who adds rings it."""

    __slots__ = ("event",)

    def __init__(self) -> None:
        self.event: anyio.Event | None = None

    def ring(self) -> None:
        if self.event is not None:
            self.event.set()
            self.event = None

    async def wait(self) -> None:
        if self.event is None:
            self.event = anyio.Event()
        with on_purpose():
            await self.event.wait()


class Place(Generic[M]):
    __slots__ = ("admitted", "decided", "message")

    def __init__(self, message: M) -> None:
        self.message = message
        self.decided = anyio.Event()
        self.admitted = False


class Lane(Generic[M]):
    __slots__ = ("_arrival", "_places", "_room", "capacity", "messages")

    def __init__(self, capacity: int, arrival: Arrival) -> None:
        self.capacity = capacity
        self.messages: deque[M] = deque()
        self._arrival = arrival
        self._places: deque[Place[M]] = deque()
        self._room = capacity  # the length at which it is full: zero while closed

    def add(self, message: M) -> bool:
        """False when full or closed."""
        if len(self.messages) >= self._room:
            return False
        self.messages.append(message)
        if self._arrival.event is not None:
            self._arrival.ring()
        return True

    async def admission(self, message: M) -> bool:
        """Wait for a place, behind those who wait already. False: closed. Cancelled: as if it had never been
        said.
        """
        if not self._room:
            return False
        place = Place(message)
        self._places.append(place)
        try:
            with on_purpose():
                await place.decided.wait()
        finally:
            if not place.decided.is_set():
                self._places.remove(place)
        return place.admitted

    def take_one(self) -> M:
        message = self.messages.popleft()
        if self._places:
            self._admit()
        return message

    def take(self, messages_max: int) -> list[M]:
        messages = self.messages
        if len(messages) <= messages_max:
            taken = list(messages)
            messages.clear()
        else:
            taken = [messages.popleft() for _ in range(messages_max)]
        if self._places:
            self._admit()
        return taken

    def unread(self) -> Iterator[M]:
        """What no receiver has taken yet, including what waits for a place."""
        yield from self.messages
        yield from (place.message for place in self._places)

    def open(self) -> None:
        self._room = self.capacity

    def close(self) -> None:
        """Drop what is queued, turn away those who wait, take nothing until opened again."""
        self._room = 0
        self.messages.clear()
        while self._places:
            self._places.popleft().decided.set()

    def _admit(self) -> None:
        while self._places and len(self.messages) < self._room:
            place = self._places.popleft()
            self.messages.append(place.message)
            place.admitted = True
            place.decided.set()
