"""The questions of one mailbox that nobody has answered yet.

A request is a plain message in the queue; who waits for its answer is remembered here, by the identity of the
message. The same message object asked twice makes two questions, which are answered in the order they were
asked.
"""

from collections import Counter
from collections.abc import Iterable

import anyio


class Question:
    """Its `message` is kept so that its identity stays its own."""

    __slots__ = ("decided", "error", "message", "value")

    def __init__(self, message: object) -> None:
        self.message = message
        self.decided = anyio.Event()
        self.value: object = None
        self.error: Exception | None = None

    def answer(self, value: object) -> None:
        self.value = value
        self.decided.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.decided.set()


class Questions:
    def __init__(self) -> None:
        self._open: dict[int, list[Question]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def open(self, message: object) -> Question:
        question = Question(message)
        self._open.setdefault(id(message), []).append(question)
        return question

    def first(self, message: object) -> Question | None:
        return next(iter(self._open.get(id(message), ())), None)

    def forget(self, question: Question) -> None:
        """Answered, failed or given up; forgetting twice changes nothing."""
        same = self._open.get(id(question.message), [])
        if question in same:
            same.remove(question)
        if not same:
            self._open.pop(id(question.message), None)

    def fail_all_but(self, unread: Iterable[object], error: Exception) -> None:
        """Fail those whose message has been taken, which is every one that is not unread."""
        waiting = Counter(map(id, unread))
        for key, same in list(self._open.items()):
            for question in same[: max(0, len(same) - waiting[key])]:
                self.forget(question)
                question.fail(error)
