"""How a dispatcher divides its slots, the requests it may have in flight, over endpoints, so that an endpoint with few
of them finds free ones whatever the others do. Pure.

An endpoint takes another slot while it has less than its fair share, computed as if one more endpoint were active, or
less than is still free. The latter is the dynamic threshold of shared-memory switches (Choudhury and Hahne, 1998): it
gives the slots that others leave unused to those that can use them, and always keeps as many free as the busiest has.
Slow endpoints divide only `SLOW_PART` of the slots in the same way, because theirs are not free again soon. An endpoint
that has not answered yet is one of them, but its first request may use any slot.
"""

from collections.abc import Mapping
from enum import Enum, auto
from heapq import heapify, heappop, heapreplace

from msgspec import Struct

SLOW_PART = 0.5


class Pace(Enum):
    UNKNOWN = auto()
    QUICK = auto()
    SLOW = auto()


class EndpointLoad(Struct, frozen=True):
    in_flight: int = 0
    pace: Pace = Pace.UNKNOWN


NEW = EndpointLoad()


class _Slots:
    """Slots and how they are used."""

    def __init__(self, slots_max: int, loads: list[EndpointLoad]) -> None:
        self.slots_max = slots_max
        self.used = sum(load.in_flight for load in loads)
        self.active = sum(load.in_flight > 0 for load in loads)

    def admits(self, in_flight: int) -> bool:
        free = self.slots_max - self.used
        others_and_one = self.active + (in_flight == 0) + 1
        return free > 0 and (in_flight < self.slots_max // others_and_one or in_flight < free)

    def take(self, in_flight: int) -> None:
        self.used += 1
        self.active += in_flight == 0


def divide_slots(slots_max: int, loads: Mapping[str, EndpointLoad], wanted: Mapping[str, int]) -> dict[str, int]:
    """How many slots each endpoint gets of those it wants, the least busy first; among equals the order of `wanted`
    decides. An endpoint without a load is a new one.
    """
    every = _Slots(slots_max, list(loads.values()))
    slow = _Slots(max(1, int(slots_max * SLOW_PART)), [load for load in loads.values() if load.pace is not Pace.QUICK])
    granted = dict.fromkeys(wanted, 0)
    waiting = [(loads.get(name, NEW).in_flight, index, name) for index, name in enumerate(wanted)]
    heapify(waiting)
    while waiting and every.used < slots_max:
        in_flight, index, name = waiting[0]
        pace = loads.get(name, NEW).pace
        is_probe = pace is Pace.UNKNOWN and not in_flight
        admitted = granted[name] < wanted[name] and every.admits(in_flight)
        if not admitted or not (pace is Pace.QUICK or is_probe or slow.admits(in_flight)):
            heappop(waiting)
            continue
        every.take(in_flight)
        if pace is not Pace.QUICK:
            slow.take(in_flight)
        granted[name] += 1
        heapreplace(waiting, (in_flight + 1, index, name))
    return granted
