"""What one client of events received, and the rule for it: in every partition exactly the changes of the log, in order,
from its first position on; after a resync, from the position of that resync on, and none that it had before.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from airy.actors.change_sink import ChangeId
from airy.actors.feed_position import PARTITIONS, FeedPosition
from airy.bus.record import TopicPartition

NOTHING: ChangeId = (-1, -1)


class Received(Struct, frozen=True):
    tp: TopicPartition
    place: ChangeId  # offset and index within the changes of the record
    change_id: str


class Stretch(Struct):
    """Events from a position on, without a resync in between."""

    start: FeedPosition
    events: list[Received] = field(default_factory=list)


class EventHistory(Struct):
    stretches: list[Stretch] = field(default_factory=list)
    sessions: int = 0
    resyncs: int = 0
    slow: int = 0
    unavailable: int = 0
    resumed: int = 0  # sessions that continued, with events
    early: list[Received] = field(default_factory=list)  # before any mark: wrong
    _marked: bool = False
    _continued: bool = False

    def connect(self) -> None:
        self.sessions += 1
        self._marked = self._continued = False

    def add(self, event: Received) -> None:
        if not self.stretches:
            self.early.append(event)
            return
        if not self._marked and not self._continued:
            self._continued = True
            self.resumed += 1
        self.stretches[-1].events.append(event)

    def mark(self, resync: bool, position: FeedPosition) -> None:
        self._marked = True
        if resync:
            self.resyncs += 1
        if resync or not self.stretches:
            self.stretches.append(Stretch(position))

    def violations(self, expected: Mapping[TopicPartition, Sequence[Received]]) -> list[str]:
        """`expected` is complete: the client has received everything up to the end of the log."""
        found = [f"{each.change_id} before the first mark" for each in self.early]
        for index, tp in enumerate(PARTITIONS):
            last = NOTHING
            for number, stretch in enumerate(self.stretches):
                start = stretch.start.after(index)
                if start < last and number and start[1] >= 0:
                    found.append(f"{tp.topic}/{tp.partition}: the resync at {start} is before {last}")
                wanted = [each for each in expected[tp] if each.place > max(start, last)]
                got = [each for each in stretch.events if each.tp == tp]
                if number < len(self.stretches) - 1:
                    wanted = wanted[: len(got)]
                if got != wanted:
                    found.append(f"{tp.topic}/{tp.partition}: {_difference(got, wanted)}")
                last = max([last, *(each.place for each in got)])
        return found


def _difference(got: Sequence[Received], wanted: Sequence[Received]) -> str:
    missed = [each.place for each in wanted if each not in got]
    repeated = [each.place for each in got if got.count(each) > 1 or each not in wanted]
    return f"missed {missed[:5]}, repeated or unknown {repeated[:5]}" if missed or repeated else "out of order"
