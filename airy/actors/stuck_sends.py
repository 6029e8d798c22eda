"""Ends sends that do not get on, with one look at all of them from time to time: a timer per send would cost as much as
the send itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

CHECKS_PER_LIMIT = 4
CHECK_S_MAX = 1.0


class Sender:
    """Sets `busy` during a send, and counts its sends in `sent`."""

    __slots__ = ("busy", "scope", "seen", "sent", "stuck", "unchanged_since")

    def __init__(self) -> None:
        self.busy = False
        self.sent = 0
        self.stuck = False
        self.scope = anyio.CancelScope()
        self.seen = 0  # `sent` at the last look
        self.unchanged_since = anyio.current_time()


class StuckSends:
    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.check_s = min(CHECK_S_MAX, limit_s / CHECKS_PER_LIMIT)
        self._senders: dict[Sender, None] = {}

    @contextmanager
    def watching(self) -> Iterator[Sender]:
        """The block is cancelled when a send of its sender takes longer than the limit; `stuck` is true then."""
        sender = Sender()
        self._senders[sender] = None
        try:
            with sender.scope:
                yield sender
        finally:
            del self._senders[sender]

    def check(self) -> None:
        now = anyio.current_time()
        for sender in self._senders:
            if not sender.busy or sender.sent != sender.seen:
                sender.seen, sender.unchanged_since = sender.sent, now
            elif now - sender.unchanged_since >= self.limit_s:
                sender.stuck = True
                sender.scope.cancel()
