"""Fault injection for the in-process bus: what fails, at which point, and how often. Production passes none.

A fault is injected at a named point, either scripted or drawn from a seeded random source. A crash raises
`InjectedCrash`, which is no `AiryError` and must not be caught, so it ends the actor as a real crash would.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from random import Random
from typing import Literal

import anyio
from msgspec import Struct

from airy.errors import Unavailable

FaultPoint = Literal["publish", "published", "fetch", "commit", "committed"]
"""`publish` and `commit` are before anything is written, `published` and `committed` after: a reply lost there leaves
the outcome unknown to the caller. `fetch` is before a group member reads; tails have no faults."""

FaultKind = Literal["unavailable", "delay", "duplicate", "crash", "rebalance"]
"""`duplicate` applies to `publish` (the batch is appended twice), `rebalance` to `fetch`."""


class InjectedCrash(Exception):
    """The process ended here, as far as the calling actor is concerned."""


class InjectedFault(Struct, frozen=True):
    kind: FaultKind
    delay_s: float = 0.0


class Faults:
    """`rates` are probabilities per pass of a point; scripted faults come first."""

    def __init__(
        self,
        source: Random | None = None,
        *,
        rates: Mapping[tuple[FaultPoint, FaultKind], float] | None = None,
        delay_s_max: float = 1.0,
    ) -> None:
        if rates and source is None:
            raise ValueError("rates need a seeded random source: Faults(Random(seed), rates=...)")
        self._source = source
        self._rates = dict(rates or {})
        self._delay_s_max = delay_s_max
        self._scripts: dict[FaultPoint, deque[InjectedFault | None]] = defaultdict(deque)
        self.injected: list[tuple[FaultPoint, FaultKind]] = []  # so far, for assertions and traces

    def script(
        self, point: FaultPoint, kind: FaultKind, *, after: int = 0, times: int = 1, delay_s: float = 0.0
    ) -> None:
        """Let `after` more passes of a point succeed, then inject the fault `times` in a row."""
        self._scripts[point].extend([None] * after + [InjectedFault(kind, delay_s)] * times)

    def clear(self) -> None:
        """Inject no more faults."""
        self._rates.clear()
        self._scripts.clear()

    async def inject(self, point: FaultPoint) -> FaultKind | None:
        """Raise, wait, or return the fault the bus has to act on, as script or random source decide."""
        fault = self._next(point)
        if fault is None:
            return None
        self.injected.append((point, fault.kind))
        if fault.kind == "unavailable":
            raise Unavailable(f"fault at {point}: the log cannot serve")
        if fault.kind == "crash":
            raise InjectedCrash(f"fault at {point}")
        if fault.kind == "delay":
            await anyio.sleep(fault.delay_s)
        return fault.kind

    def _next(self, point: FaultPoint) -> InjectedFault | None:
        if self._scripts[point]:
            return self._scripts[point].popleft()
        for (at, kind), rate in self._rates.items():
            if at == point and self._source is not None and self._source.random() < rate:
                return InjectedFault(kind, self._source.uniform(0, self._delay_s_max))
        return None
