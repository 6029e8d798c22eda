"""Admission control for provider webhooks: limits the publishes in flight and the requests waiting for one (G9)."""

import anyio
from msgspec import Struct


class AdmissionLimits(Struct, frozen=True, kw_only=True):
    in_flight_max: int = 1_024  # publishes in flight
    queue_max: int = 4_096  # requests waiting for one of them
    queue_s: float = 0.25  # longest wait of a request


class AdmissionControl:
    """A semaphore with a bounded, first-in first-out queue and a bounded wait. One is shared by all sources."""

    def __init__(self, limits: AdmissionLimits | None = None) -> None:
        self._limits = limits or AdmissionLimits()
        self._free = self._limits.in_flight_max
        self._waiters: dict[anyio.Event, None] = {}  # in order of arrival

    async def try_acquire(self) -> bool:
        """Whether the request is admitted; if so, the caller has to `release`. False: shed it."""
        if self._free:
            self._free -= 1
            return True
        if len(self._waiters) >= self._limits.queue_max:
            return False
        admitted = anyio.Event()
        self._waiters[admitted] = None
        try:
            with anyio.move_on_after(self._limits.queue_s):
                await admitted.wait()
        except BaseException:  # cancelled: a permit that was already granted goes to the next waiter
            if not self._withdraw(admitted):
                self.release()
            raise
        return not self._withdraw(admitted)

    def release(self) -> None:
        """Grant the permit to the longest waiter, if there is one."""
        if self._waiters:
            admitted = next(iter(self._waiters))
            del self._waiters[admitted]
            admitted.set()
        else:
            self._free += 1

    def _withdraw(self, admitted: anyio.Event) -> bool:
        """Remove a waiter. False: it was granted a permit before."""
        return self._waiters.pop(admitted, self) is None
