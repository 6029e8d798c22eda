"""How much an endpoint can take right now: a circuit breaker and a brake. Pure; kept per webhook, in
memory.

The breaker is for endpoints that are not there: after a few connections that failed in a row nothing is
sent but one probe at a time, so that a dead endpoint never holds workers. The brake is for endpoints that
say they have too much.
"""

from random import Random

from msgspec import Struct

from airy.actors.webhooks.retry import JITTER, Outcome

BREAKS_AFTER = 5  # failed connections in a row
SHUT_S_MIN = 30.0
SHUT_S_MAX = 600.0
SLOW_DOWN = frozenset({429, 502, 503, 504})
PAUSE_S_MIN = 1.0
PAUSE_S_MAX = 60.0
ASKED_PAUSE_S_MAX = 3_600.0  # by Retry-After


class Endpoint(Struct):
    parallel_max: int
    parallel: int  # now: between one and `parallel_max`
    in_flight: int = 0
    broken: int = 0  # failed connections in a row
    shut: int = 0  # times in a row the breaker opened
    shut_until_ms: int = 0
    paused: int = 0  # times in a row the brake was pulled
    pause_until_ms: int = 0

    def room(self, now_ms: int) -> int:
        """How many more may be under way. An open breaker whose time has come lets one through."""
        if now_ms < max(self.shut_until_ms, self.pause_until_ms):
            return 0
        return (1 if self.shut else self.parallel) - self.in_flight

    def opens_at_ms(self, now_ms: int) -> int | None:
        """When a closed door opens; None: it is not time that is waited for."""
        until_ms = max(self.shut_until_ms, self.pause_until_ms)
        return until_ms if until_ms > now_ms else None

    def at_rest(self, now_ms: int) -> bool:
        """Nothing to remember."""
        busy = self.in_flight or self.broken or self.shut or self.paused or self.pause_until_ms > now_ms
        return not busy and self.parallel == self.parallel_max

    def hold(self, until_ms: int) -> None:
        """Send nothing for a while, for reasons of our own."""
        self.pause_until_ms = max(self.pause_until_ms, until_ms)

    def record(self, outcome: Outcome, now_ms: int, random: Random) -> None:
        if outcome.status is None:
            self._connection_failed(now_ms, random)
            return
        self.broken = self.shut = self.shut_until_ms = 0
        if outcome.status in SLOW_DOWN:
            self._brake(outcome, now_ms, random)
        elif outcome.succeeded and now_ms >= self.pause_until_ms:  # not the last of those sent before the pause
            self.paused = 0
            self.parallel = min(self.parallel + 1, self.parallel_max)

    def _connection_failed(self, now_ms: int, random: Random) -> None:
        self.broken += 1
        if self.broken < BREAKS_AFTER or now_ms < self.shut_until_ms:  # the rest of a volley breaks nothing more
            return
        shut_s = min(SHUT_S_MIN * 2**self.shut, SHUT_S_MAX)
        self.shut = min(self.shut + 1, 16)
        self.shut_until_ms = now_ms + _spread_ms(shut_s, random)

    def _brake(self, outcome: Outcome, now_ms: int, random: Random) -> None:
        if now_ms < self.pause_until_ms:
            return
        pause_s = min(PAUSE_S_MIN * 2**self.paused, PAUSE_S_MAX)
        self.paused = min(self.paused + 1, 16)
        self.parallel = max(1, self.parallel // 2)
        self.pause_until_ms = now_ms + _spread_ms(pause_s, random)
        if outcome.retry_after_s is not None:
            asked_ms = now_ms + round(min(outcome.retry_after_s, ASKED_PAUSE_S_MAX) * 1000)
            self.pause_until_ms = max(self.pause_until_ms, asked_ms)


def _spread_ms(seconds: float, random: Random) -> int:
    return round(seconds * random.uniform(1 - JITTER, 1 + JITTER) * 1000)
