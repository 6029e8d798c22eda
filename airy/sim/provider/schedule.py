"""A queue ordered by due time, for events, webhooks and the actions of customers."""

import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Schedule(Generic[T]):
    """First in, first out among entries due at the same time."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, T]] = []
        self._added = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due_ms: int, thing: T) -> None:
        self._added += 1
        heapq.heappush(self._heap, (due_ms, self._added, thing))

    def next_due_ms(self) -> int | None:
        return self._heap[0][0] if self._heap else None

    def take(self, now_ms: int) -> list[tuple[int, T]]:
        """Everything due, with the time it was due."""
        taken: list[tuple[int, T]] = []
        while self._heap and self._heap[0][0] <= now_ms:
            due_ms, _, thing = heapq.heappop(self._heap)
            taken.append((due_ms, thing))
        return taken

    def any(self, wanted: Callable[[T], bool]) -> bool:
        return any(wanted(thing) for _, _, thing in self._heap)
