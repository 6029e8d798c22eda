"""What a log is recognised by: the first record of its events, which is never deleted.

Offsets alone do not tell two logs apart: those of a log that was created anew start at 0 again.
"""

from airy import topics
from airy.actors.feed_position import INDEX, PARTITIONS, Epoch
from airy.bus.api import Bus

FETCH_S = 5.0


class LogEpoch:
    """Reads at most one record per partition of EVENTS, once. For one log: build another after the log has changed."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: dict[int, int] = {}  # fingerprint of the first record, by index of the partition

    @property
    def known(self) -> Epoch | None:
        """What `current` has found."""
        return next((Epoch(index, fingerprint) for index, fingerprint in self._known.items()), None)

    async def current(self) -> Epoch | None:
        """None: there are no events. Raises `Unavailable`."""
        if not self._known:
            begins = await self._bus.beginning_offsets([topics.EVENTS])
            ends = await self._bus.end_offsets([topics.EVENTS])
            first = next((tp for tp in topics.EVENTS.topic_partitions if begins[tp] < ends[tp]), None)
            if first is not None:
                await self._read(INDEX[first])
        return self.known

    async def matches(self, epoch: Epoch) -> bool:
        """Whether the log is the one that has this epoch. Raises `Unavailable`."""
        if PARTITIONS[epoch.partition].topic != topics.EVENTS.name:
            return False
        if epoch.partition not in self._known:
            await self._read(epoch.partition)
        return self._known.get(epoch.partition) == epoch.fingerprint

    async def _read(self, index: int) -> None:
        tp = PARTITIONS[index]
        begins = await self._bus.beginning_offsets([topics.EVENTS])
        ends = await self._bus.end_offsets([topics.EVENTS])
        if begins[tp] == ends[tp]:
            return
        async with self._bus.tail({tp: begins[tp]}) as tail:
            found = await tail.fetch(records_max=1, wait_s=FETCH_S)
        if found:
            self._known[index] = found[0].fingerprint
