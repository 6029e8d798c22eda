"""Consumer groups: which member owns which partition. Decides only: it never waits, and calls nothing but `wake`.

Rebalances are eager, as in Kafka's classic protocol: every member gives up all its partitions, and when the last has
done so (or the time limit has passed) all partitions are assigned again. A member that has not fetched for a session
is expelled. Time is an argument; a member that waits in `fetch` wakes at `next_deadline`, so a group needs no task.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any

from airy.bus.api import Fenced
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic

PartitionAssignment = dict["Member", frozenset[TopicPartition]]


class Member:
    """One subscription, as its group sees it."""

    def __init__(self, topics: Sequence[Topic[Any]], wake: Callable[[], None]) -> None:
        self.topics = topics
        self.wake = wake
        self.owned: frozenset[TopicPartition] = frozenset()
        self.assigned: frozenset[TopicPartition] | None = None  # by the group; the member has not acted on it yet
        self.revoked = False  # in the current rebalance: the member owns nothing any more
        self.expelled = False
        self.fetching = False  # a member inside `fetch` is alive however long it takes
        self.seen_at = 0.0


def assign_partitions(members: Iterable[Member]) -> PartitionAssignment:
    """Round-robin: the partitions of each topic go round its subscribers in the order they joined."""
    members = tuple(members)
    assigned: dict[Member, list[TopicPartition]] = {member: [] for member in members}
    topics = {topic.name: topic for member in members for topic in member.topics}
    turn = 0
    for name in sorted(topics):
        subscribers = [member for member in members if any(topic.name == name for topic in member.topics)]
        for tp in topics[name].topic_partitions:
            assigned[subscribers[turn % len(subscribers)]].append(tp)
            turn += 1
    return {member: frozenset(partitions) for member, partitions in assigned.items()}


class Group:
    def __init__(self, name: str, *, session_s: float, rebalance_s: float) -> None:
        self.name = name
        self.session_s = session_s
        self.rebalance_s = rebalance_s
        self.generation = 0
        self.rebalances = 0  # completed since start, for metrics
        self.committed: dict[TopicPartition, int] = {}
        self.members: dict[Member, None] = {}
        self._rebalance_deadline: float | None = None  # set during a rebalance

    @property
    def rebalancing(self) -> bool:
        return self._rebalance_deadline is not None

    # --- called by members

    def join(self, member: Member, now: float) -> None:
        member.expelled = False
        member.assigned = None
        member.seen_at = now
        self.members[member] = None
        self.rebalance(now)

    def leave(self, member: Member, now: float) -> None:
        if member in self.members:
            self._remove(member)
            self.rebalance(now)

    def revoke(self, member: Member, now: float) -> None:
        """The member has given up its partitions and waits for its new assignment."""
        member.owned = frozenset()
        member.revoked = True
        self.tick(now)

    def check(self, member: Member, offsets: Mapping[TopicPartition, int], now: float) -> None:
        """Raises `Fenced` unless the member owns all of these."""
        self.tick(now)
        lost = offsets.keys() if member.expelled else offsets.keys() - member.owned
        if lost:
            names = ", ".join(f"{tp.topic}[{tp.partition}]" for tp in sorted(lost))
            raise Fenced(f"{names} belongs to another member of {self.name!r} now: stop acting on it")

    # --- driven by time

    def rebalance(self, now: float) -> None:
        """All partitions are given up and assigned anew. A current rebalance starts over with its old deadline."""
        self.generation += 1
        if self._rebalance_deadline is None:
            self._rebalance_deadline = now + self.rebalance_s
        for member in self.members:
            member.assigned = None
            member.revoked = member.revoked and not member.owned
            member.wake()
        self.tick(now)

    def tick(self, now: float) -> None:
        """Expel members that are late; assign partitions once no member owns any."""
        late = [member for member in self.members if not member.fetching and now >= member.seen_at + self.session_s]
        if self._rebalance_deadline is not None and now >= self._rebalance_deadline:
            late += [member for member in self.members if not member.revoked and member not in late]
        for member in late:
            self._remove(member)
            member.expelled = True
            member.wake()
        if late:
            self.rebalance(now)
        elif self._rebalance_deadline is not None and all(member.revoked for member in self.members):
            self._rebalance_deadline = None
            self.rebalances += 1
            for member, partitions in assign_partitions(self.members).items():
                member.revoked = False
                member.assigned = partitions
                member.wake()

    def next_deadline(self) -> float:
        """The next time at which `tick` may have something to do."""
        sessions = (member.seen_at + self.session_s for member in self.members if not member.fetching)
        if self._rebalance_deadline is None:
            return min(sessions, default=inf)
        return min(self._rebalance_deadline, *sessions, inf)

    def _remove(self, member: Member) -> None:
        del self.members[member]
        member.assigned = None
        member.revoked = False
