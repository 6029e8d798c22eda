"""Admission control: limits the work in flight and the requests that wait for it (G9), of webhooks before the API.

A provider's webhook that is rejected too often is lost, and with it a message; an agent's request can be repeated. So
webhooks have limits of their own, and while one of them waits no request of the API is admitted.
"""

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

    @property
    def waiting(self) -> int:
        """The requests that wait for a permit."""
        return len(self._waiters)

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


class ApiAdmission:
    """Admission control of the API, which yields to that of the webhooks."""

    def __init__(self, limits: AdmissionLimits | None = None, webhooks: AdmissionControl | None = None) -> None:
        self._control = AdmissionControl(limits or AdmissionLimits(in_flight_max=256, queue_max=1_024))
        self._webhooks = webhooks
        self.shed = 0

    async def try_acquire(self) -> bool:
        """Whether the request is admitted; if so, the caller has to `release`."""
        yields = self._webhooks is not None and self._webhooks.waiting > 0
        if not yields and await self._control.try_acquire():
            return True
        self.shed += 1
        return False

    def release(self) -> None:
        self._control.release()
