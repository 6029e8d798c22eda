"""Fault switches of the memory bus: what goes wrong, where, and how often. Production hands in none.

A fault strikes at a named point, either because a script says so or because a seeded random source does. A crash
raises `Crashed`, which is no `AiryError`: nobody may handle it, so it ends the actor as a real crash would.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from random import Random
from typing import Literal

import anyio
from msgspec import Struct

from airy.errors import Unavailable

Point = Literal["publish", "published", "fetch", "commit", "committed"]
"""`publish` and `commit` are before anything is written, `published` and `committed` after: an answer lost there
leaves the caller in doubt. `fetch` is before a member of a group reads; tails have no faults."""

Kind = Literal["unavailable", "delay", "duplicate", "crash", "rebalance"]
"""`duplicate` means something at `publish` (the batch is appended twice), `rebalance` at `fetch`."""


class Crashed(Exception):
    """The process ended here, as far as the actor that called is concerned."""


class Fault(Struct, frozen=True):
    kind: Kind
    delay_s: float = 0.0


class Faults:
    """`rates` are probabilities per pass of a point; scripted faults come first."""

    def __init__(
        self,
        source: Random | None = None,
        *,
        rates: Mapping[tuple[Point, Kind], float] | None = None,
        delay_s_max: float = 1.0,
    ) -> None:
        if rates and source is None:
            raise ValueError("rates need a seeded random source: Faults(Random(seed), rates=...)")
        self._source = source
        self._rates = dict(rates or {})
        self._delay_s_max = delay_s_max
        self._scripts: dict[Point, deque[Fault | None]] = defaultdict(deque)
        self.struck: list[tuple[Point, Kind]] = []  # what happened, for assertions and traces

    def script(self, point: Point, kind: Kind, *, after: int = 0, times: int = 1, delay_s: float = 0.0) -> None:
        """Let `after` more passes of a point go well, then strike `times` in a row."""
        self._scripts[point].extend([None] * after + [Fault(kind, delay_s)] * times)

    def calm(self) -> None:
        """No more faults: what follows must recover."""
        self._rates.clear()
        self._scripts.clear()

    async def strike(self, point: Point) -> Kind | None:
        """Raise, wait, or tell the bus what to do, as script or chance has it."""
        fault = self._next(point)
        if fault is None:
            return None
        self.struck.append((point, fault.kind))
        if fault.kind == "unavailable":
            raise Unavailable(f"fault at {point}: the log cannot serve")
        if fault.kind == "crash":
            raise Crashed(f"fault at {point}")
        if fault.kind == "delay":
            await anyio.sleep(fault.delay_s)
        return fault.kind

    def _next(self, point: Point) -> Fault | None:
        if self._scripts[point]:
            return self._scripts[point].popleft()
        for (at, kind), rate in self._rates.items():
            if at == point and self._source is not None and self._source.random() < rate:
                return Fault(kind, self._source.uniform(0, self._delay_s_max))
        return None
