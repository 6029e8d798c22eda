"""Which attachment is fetched when: those that are due, with fair shares of the slots for the hosts. Pure: times are
arguments, of the event loop's clock.

A host has at most `in_flight_max / (hosts + 1)` slots, one at least, counted over the hosts with a fetch that is due or
in flight. So a host that never answers leaves slots to the others, also to one that appears now.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterator
from heapq import heappop, heappush
from itertools import count

from msgspec import Struct

from airy.bus.record import TopicPartition
from airy.media.attachment import Attachment

FetchKey = tuple[str, str]


class AttachmentFetch(Struct, kw_only=True, eq=False):
    """`offset`: of the record whose change named the attachment; the reader commits no further while it waits."""

    tp: TopicPartition
    offset: int
    conversation_id: str
    message_id: str
    channel_id: str
    source: str
    attachment: Attachment
    host: str  # or the kind of channel, where the provider is asked for the address
    problem: str = ""  # why it cannot be fetched, known before the first attempt
    attempts: int = 0
    dropped: bool = False

    @property
    def key(self) -> FetchKey:
        return self.message_id, self.attachment.reference


class FetchSchedule:
    def __init__(self, in_flight_max: int) -> None:
        self._in_flight_max = in_flight_max
        self._fetches: dict[FetchKey, AttachmentFetch] = {}
        self._due: dict[str, deque[AttachmentFetch]] = {}  # by host
        self._later: list[tuple[float, int, AttachmentFetch]] = []  # a heap by time
        self._order = count()
        self._in_flight = Counter[str]()  # by host

    def __len__(self) -> int:
        return len(self._fetches)

    @property
    def waiting_for_retry(self) -> int:
        return len(self._later)

    def __contains__(self, key: FetchKey) -> bool:
        return key in self._fetches

    def add(self, fetch: AttachmentFetch) -> None:
        if fetch.key not in self._fetches:
            self._fetches[fetch.key] = fetch
            self._due.setdefault(fetch.host, deque()).append(fetch)

    def take(self, now: float) -> Iterator[AttachmentFetch]:
        """Fetches to start, each then in flight until `release`, `retry` or `remove`. Hosts take turns."""
        while self._later and self._later[0][0] <= now:
            fetch = heappop(self._later)[2]
            if not fetch.dropped:
                self._due.setdefault(fetch.host, deque()).append(fetch)
        while (host := self._next_host()) is not None:
            waiting = self._due.pop(host)
            fetch = waiting.popleft()
            if waiting:
                self._due[host] = waiting  # behind the others
            if not fetch.dropped:
                self._in_flight[host] += 1
                yield fetch

    def due_in_s(self, now: float) -> float | None:
        """Until the first fetch that waits for a retry is due; None: none waits."""
        return max(0.0, self._later[0][0] - now) if self._later else None

    def release(self, fetch: AttachmentFetch) -> None:
        """The attempt is over."""
        self._in_flight[fetch.host] -= 1
        self._in_flight += Counter()  # drops hosts with none

    def retry(self, fetch: AttachmentFetch, at: float) -> None:
        if not fetch.dropped:
            heappush(self._later, (at, next(self._order), fetch))

    def remove(self, fetch: AttachmentFetch) -> None:
        if self._fetches.get(fetch.key) is fetch:
            del self._fetches[fetch.key]

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what belongs to these partitions; what is in flight ends by itself."""
        for fetch in [each for each in self._fetches.values() if each.tp in partitions]:
            fetch.dropped = True
            del self._fetches[fetch.key]

    def low_waters(self) -> dict[TopicPartition, int]:
        """The lowest offset that is not finished, of partitions that have one."""
        found: dict[TopicPartition, int] = {}
        for fetch in self._fetches.values():
            found[fetch.tp] = min(fetch.offset, found.get(fetch.tp, fetch.offset))
        return found

    def _next_host(self) -> str | None:
        if self._in_flight.total() >= self._in_flight_max:
            return None
        share = max(1, self._in_flight_max // (len(self._due.keys() | self._in_flight.keys()) + 1))
        return next((host for host in self._due if self._in_flight[host] < share), None)
