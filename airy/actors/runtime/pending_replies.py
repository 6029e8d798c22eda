"""Requests of one mailbox that have no reply yet.

A request is an ordinary message in the queue; the waiting caller is registered here by the identity of the message.
The same object asked twice makes two entries, which are answered in the order of the calls.
"""

from collections import Counter
from collections.abc import Iterable

import anyio


class PendingReply:
    """Keeps `message` referenced, so that its `id()` stays unique."""

    __slots__ = ("error", "message", "settled", "value")

    def __init__(self, message: object) -> None:
        self.message = message
        self.settled = anyio.Event()
        self.value: object = None
        self.error: Exception | None = None

    def answer(self, value: object) -> None:
        self.value = value
        self.settled.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.settled.set()


class PendingReplies:
    def __init__(self) -> None:
        self._open: dict[int, list[PendingReply]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def open(self, message: object) -> PendingReply:
        reply = PendingReply(message)
        self._open.setdefault(id(message), []).append(reply)
        return reply

    def first(self, message: object) -> PendingReply | None:
        return next(iter(self._open.get(id(message), ())), None)

    def discard(self, reply: PendingReply) -> None:
        """Answered, failed or given up. Idempotent."""
        same = self._open.get(id(reply.message), [])
        if reply in same:
            same.remove(reply)
        if not same:
            self._open.pop(id(reply.message), None)

    def fail_taken(self, queued: Iterable[object], error: Exception) -> None:
        """Fail every request the receiver has taken, that is, every one not in `queued`."""
        waiting = Counter(map(id, queued))
        for key, same in list(self._open.items()):
            for reply in same[: max(0, len(same) - waiting[key])]:
                self.discard(reply)
                reply.fail(error)
